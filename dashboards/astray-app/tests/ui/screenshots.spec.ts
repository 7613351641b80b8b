import { alerts, expect, test } from './astray';

const OUT = '../../docs/img';

// The pictures of the README and the docs: the real pages with the simulator's data.
test('pictures of every page', async ({ page }) => {
  test.setTimeout(180_000);
  const rows = (await alerts(page)).filter((a) => a.entity_kind === 'agent');
  const alert = rows.find((a) => a.detector === 'scraping') ?? rows[0];
  const id = encodeURIComponent(alert.id);
  const shots: Array<[string, string, boolean]> = [
    ['triage', '/a/astray-app/triage', false],
    ['alert', `/a/astray-app/alert?id=${id}`, true],
    ['agent', `/a/astray-app/entity?kind=agent&id=${encodeURIComponent(alert.entity_id)}`, true],
    ['entities', '/a/astray-app/entity', false],
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
  await expect(page.getByText(/would have hidden \d/)).toBeVisible();
  await page.screenshot({ path: `${OUT}/suppress.png`, animations: 'disabled' });
});

test('pictures of the dashboards', async ({ page }) => {
  const grafana = process.env.GRAFANA_URL;
  test.skip(!grafana, 'GRAFANA_URL names no Grafana: the dashboards were not taken');
  test.setTimeout(300_000);
  const login = { user: process.env.GRAFANA_USER ?? 'admin', password: process.env.GRAFANA_PASSWORD ?? 'admin' };
  expect((await page.request.post(`${grafana}/login`, { data: login })).ok()).toBe(true);
  const month = `from=${Date.now() - 30 * 86_400_000}&to=${Date.now()}`;
  const resources = `${grafana}/api/plugins/astray-app/resources`;
  const { alerts: rows } = await (
    await page.request.get(`${resources}/alerts?${month}&entity_kind=agent&limit=1`)
  ).json();
  const { events } = await (await page.request.get(`${resources}/alerts/${rows[0].id}/events?limit=1`)).json();
  const at = Date.parse(rows[0].last_seen);
  const of = new URLSearchParams({ 'var-agent': rows[0].entity_id, 'var-credential': events[0].credential_id });
  await page.setViewportSize({ width: 1440, height: 1700 }); // panels out of sight are not loaded
  for (const name of ['overview', 'agent', 'investigation', 'pipeline-health']) {
    const span = name === 'pipeline-health' ? 'from=now-15m&to=now' : `from=${at - 3 * 86_400_000}&to=${at + 3600_000}`;
    await page.goto(`${grafana}/d/astray-${name}?kiosk&_dash.hideTimePicker=true&theme=dark&${span}&${of}`);
    await page.waitForLoadState('networkidle', { timeout: 15_000 }).catch(() => undefined);
    await expect(page.getByText('Computing layout')).toHaveCount(0, { timeout: 60_000 });
    const ends = await page
      .locator('.react-grid-item')
      .evaluateAll((panels) => panels.map((p) => p.getBoundingClientRect().bottom));
    const height = Math.min(1700, Math.ceil(Math.max(...ends)) + 12);
    await page.screenshot({
      path: `${OUT}/dashboard-${name}.png`,
      clip: { x: 0, y: 0, width: 1440, height },
      animations: 'disabled',
    });
  }
});
