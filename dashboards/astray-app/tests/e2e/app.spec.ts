import { expect, test } from './fixtures';

// Against a Grafana that has the plugin: GRAFANA_URL=http://localhost:3000 npm run e2e
test.skip(!process.env.GRAFANA_URL, 'GRAFANA_URL names no Grafana: the end-to-end tests were not run');

test('the queue comes up in Grafana', async ({ gotoPage, page }) => {
  await gotoPage('/triage');
  await expect(page.getByRole('heading', { name: 'Triage' })).toBeAttached();
  await expect(page.getByTestId('queue').or(page.getByText(/No alerts in this time/))).toBeVisible();
});

test('the fleet comes up in Grafana', async ({ gotoPage, page }) => {
  await gotoPage('/fleet');
  await expect(page.getByText('Events per second')).toBeVisible();
});

test('the configuration can be tested', async ({ appConfigPage, page }) => {
  await expect(appConfigPage.ctx.page).toBeTruthy();
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await expect(page.getByText(/ClickHouse/).first()).toBeVisible();
});

test('a panel of the datasource shows rows', async ({ panelEditPage }) => {
  await panelEditPage.datasource.set('Astray');
  await panelEditPage.setVisualization('Table');
  await expect(panelEditPage.refreshPanel()).toBeOK();
});
