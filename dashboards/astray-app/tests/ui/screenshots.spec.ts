import { alerts, expect, test } from './astray';

const OUT = '../../docs/img';

// The pictures of the README and the docs: the real pages with the simulator's data.
test('pictures of every page', async ({ page }) => {
  test.setTimeout(180_000);
  const rows = (await alerts(page)).filter((a) => a.entity_kind === 'agent' && !a.id.startsWith('hostile'));
  const alert = rows.find((a) => a.detector === 'scraping') ?? rows[0];
  const id = encodeURIComponent(alert.id);
  const shots: Array<[string, string, boolean]> = [
    ['triage', '/a/astray-app/triage', false],
    ['alert', `/a/astray-app/alert?id=${id}`, true],
    ['agent', `/a/astray-app/entity?kind=agent&id=${encodeURIComponent(alert.entity_id)}`, true],
    ['fleet', '/a/astray-app/fleet?range=7d', true],
    ['configuration', '/plugins/astray-app', true],
    ['query-editor', '/harness/query-editor', false],
    ['panel', '/harness/panel', false],
  ];
  for (const theme of ['dark', 'light']) {
    for (const [name, url, fullPage] of shots) {
      if (theme === 'light' && !['triage', 'alert'].includes(name)) {
        continue;
      }
      await page.goto(`${url}${url.includes('?') ? '&' : '?'}theme=${theme}&role=Admin`);
      await page.waitForLoadState('networkidle', { timeout: 5_000 }).catch(() => undefined);
      await expect(page.getByText('Loading', { exact: true })).toHaveCount(0);
      if (name === 'triage') {
        await page.keyboard.press('j');
        await page.keyboard.press('j');
      }
      await page.screenshot({
        path: `${OUT}/${name}${theme === 'light' ? '-light' : ''}.png`,
        fullPage,
        animations: 'disabled',
      });
    }
  }
  await page.goto(`/a/astray-app/alert?id=${id}&theme=dark`);
  await page.getByRole('button', { name: 'Suppress…' }).click();
  await expect(page.getByText(/would have hidden/)).toBeVisible();
  await page.screenshot({ path: `${OUT}/suppress.png`, animations: 'disabled' });
});
