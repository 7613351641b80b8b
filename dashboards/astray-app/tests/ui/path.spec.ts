import { active, alerts, ask, expect, queue, test } from './astray';

test('new alert, understood, judged, its look-alikes suppressed: in well under a minute', async ({ page }) => {
  const start = Date.now();
  await queue(page, 'range=1y&state=open');
  await page.keyboard.press('j');
  const id = await active(page).getAttribute('data-id');
  await page.keyboard.press('Enter');

  // Understand: the sentence, the numbers, the chart, the reach.
  await expect(page.getByRole('heading', { name: 'Evidence' })).toBeVisible();
  await expect(page.locator('[aria-pressed=true]')).toContainText('expected');
  await expect(page.getByRole('img', { name: /was expected|at most/ }).first()).toBeVisible();
  await expect(page.getByRole('region', { name: 'Blast radius' })).toContainText('Objects read');

  // Judge.
  await page.getByRole('button', { name: 'Close with a verdict' }).click();
  const close = page.getByRole('dialog', { name: 'Close alert' });
  await close.getByRole('radio', { name: 'Benign' }).check();
  await close.getByLabel('Reason').fill('The nightly export; agreed with its owner');
  await close.getByRole('button', { name: 'Close alert' }).click();
  await expect(page.getByRole('region', { name: 'Audit trail' })).toContainText('closed it as');
  await expect(page.getByRole('region', { name: 'Audit trail' })).toContainText('agreed with its owner');

  // Suppress the look-alike, after seeing what that would have hidden.
  await page.getByRole('button', { name: 'Suppress…' }).click();
  const suppress = page.getByRole('dialog', { name: 'Suppress what looks like this' });
  await expect(suppress.getByText(/would have hidden \d/)).toBeVisible();
  await suppress.getByLabel('Reason').fill('The nightly export');
  await suppress.getByRole('button', { name: 'Suppress', exact: true }).click();
  await expect(suppress).toHaveCount(0);
  expect(Date.now() - start).toBeLessThan(60_000);

  const row = (await alerts(page)).find((r) => r.id === id);
  expect(row?.state).toBe('closed');
  const { suppressions } = await ask<{
    suppressions: Array<{ id: string; why: string; who: string; detector: string; removed: boolean }>;
  }>(page, 'suppressions');
  const written = suppressions.find((s) => !s.removed && s.why === 'The nightly export');
  expect(written?.detector).toBe(row?.detector);
  expect(written?.who).toBe('ann');
  await page.request.delete(`/api/plugins/astray-app/resources/suppressions/${written?.id}?why=test`, {
    headers: { 'X-Astray-Role': 'Editor', 'X-Astray-Login': 'ann' },
  });
});
