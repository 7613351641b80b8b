import { active, alerts, ask, expect, queue, test } from './astray';

test('the keyboard moves, selects, acknowledges, opens and explains itself', async ({ page }) => {
  await queue(page);
  await page.keyboard.press('j');
  const first = await active(page).getAttribute('data-id');
  await page.keyboard.press('j');
  const second = await active(page).getAttribute('data-id');
  expect(second).not.toBe(first);
  await page.keyboard.press('k');
  expect(await active(page).getAttribute('data-id')).toBe(first);

  await page.keyboard.press('x');
  await expect(page.getByText('1 selected')).toBeVisible();
  await page.keyboard.press('a');
  await expect(page.locator(`[data-id="${first}"]`)).toHaveAttribute('data-state', 'acknowledged');

  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);

  const cursor = await active(page).getAttribute('data-id');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/alert\\?id=${encodeURIComponent(cursor ?? '')}`));
});

test('filters, order and saved views live in the address', async ({ page }) => {
  await queue(page);
  await page.getByRole('button', { name: 'Last seen' }).click();
  await expect(page).toHaveURL(/sort=-last_seen/);
  const [row] = await alerts(page);
  await page.getByLabel('Search title or entity').fill(row.entity_id);
  await expect(page).toHaveURL(/q=/);
  await page.getByRole('button', { name: 'Save this view' }).click();
  await page.getByLabel('Name of the view').fill('Mine alone');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Queue', exact: true }).click();
  await expect(page).not.toHaveURL(/q=/);
  await page.getByRole('button', { name: 'Mine alone', exact: true }).click();
  await expect(page).toHaveURL(/q=/);
  await page.reload();
  await expect(page.getByLabel('Search title or entity')).toHaveValue(row.entity_id);
});

test('an empty queue says why and offers the way out', async ({ page }) => {
  await page.goto('/a/astray-app/triage?range=1y&q=nothing-is-called-this');
  await expect(page.getByText(/alerts of this time match/)).toBeVisible();
  await page.getByRole('button', { name: /Show all/ }).click();
  await expect(page.getByTestId('queue').locator('[data-id]').first()).toBeVisible();
});

test('several are closed at once, and leave the queue', async ({ page }) => {
  await queue(page, 'range=1y&state=open,acknowledged&sort=%2Blast_seen');
  const rows = page.getByTestId('queue').locator('[data-id]');
  const ids = [await rows.nth(0).getAttribute('data-id'), await rows.nth(1).getAttribute('data-id')];
  for (let i = 0; i < 2; i++) {
    await page.keyboard.press('j');
    await page.keyboard.press('x');
  }
  await page.keyboard.press('c');
  const dialog = page.getByRole('dialog', { name: 'Close 2 alerts' });
  await dialog.getByRole('radio', { name: 'Unsure' }).check();
  await dialog.getByLabel('Reason').fill('a test');
  await dialog.getByRole('button', { name: 'Close 2 alerts' }).click();
  await expect(dialog).toHaveCount(0);
  for (const id of ids) {
    await expect(page.locator(`[data-id="${id}"]`)).toHaveCount(0);
  }
});

test('what another analyst does shows at once, and no row moves', async ({ page }) => {
  await queue(page);
  const rows = page.getByTestId('queue').locator('[data-id]');
  const order = await rows.evaluateAll((all) => all.map((r) => r.getAttribute('data-id')));
  const id = order[2];
  await ask(page, 'actions', { login: 'cleo' }, { ids: [id], action: 'assign', value: 'cleo', why: '' });
  await expect(page.locator(`[data-id="${id}"]`)).toContainText('cleo', { timeout: 10_000 });
  expect(await rows.evaluateAll((all) => all.map((r) => r.getAttribute('data-id')))).toEqual(order);
});

test('a viewer reads and cannot triage', async ({ page }) => {
  await queue(page, 'range=1y&role=Viewer&login=vic');
  await page.keyboard.press('j');
  await page.keyboard.press('x');
  await expect(page.getByText('Your role may read, not triage.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Acknowledge' })).toBeDisabled();
  const refused = await page.request.post('/api/plugins/astray-app/resources/actions', {
    headers: { 'X-Astray-Role': 'Viewer', 'X-Astray-Login': 'vic' },
    data: { ids: [await active(page).getAttribute('data-id')], action: 'acknowledge', value: '', why: '' },
  });
  expect(refused.status()).toBe(403);
});
