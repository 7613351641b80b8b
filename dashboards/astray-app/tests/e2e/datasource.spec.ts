import { alerts, expect, shownErrors, test } from './fixtures';

test.skip(!process.env.GRAFANA_URL, 'GRAFANA_URL names no Grafana: the end-to-end tests were not run');

const MONTH = { from: 'now-30d', to: 'now' };

test('the health check of the datasource passes', async ({ gotoDataSourceConfigPage, page }) => {
  const source = await gotoDataSourceConfigPage('astray');
  await expect(source.saveAndTest()).toBeOK();
  await expect(page.getByText(/Connected to ClickHouse/).first()).toBeVisible();
});

test('a panel asks in the query editor, in plain words, and shows rows', async ({
  gotoPanelEditPage,
  page,
  troubles,
}) => {
  const panel = await gotoPanelEditPage({
    dashboard: { uid: 'astray-overview', queryParams: new URLSearchParams(MONTH) },
    id: '6',
  });
  await expect(panel.panel.locator.getByText('No data', { exact: true })).toHaveCount(0);
  const show = page.getByRole('combobox', { name: 'Show' });
  await expect(show).toBeVisible();
  const asked = page.waitForResponse(
    (r) => r.url().includes('/api/ds/query') && (r.request().postData() ?? '').includes('"queryType":"alerts"')
  );
  await show.click();
  await page.getByRole('option', { name: /^Alerts/ }).click();
  expect((await asked).ok()).toBe(true);
  await expect(panel.panel.locator.getByText('No data', { exact: true })).toHaveCount(0);
  expect(troubles).toEqual([]);
});

test('Explore shows the alerts', async ({ page, troubles }) => {
  const panes = {
    a: {
      datasource: 'astray',
      queries: [{ refId: 'A', queryType: 'alerts', datasource: { type: 'astray-datasource', uid: 'astray' } }],
      range: MONTH,
    },
  };
  const asked = page.waitForResponse((r) => r.url().includes('/api/ds/query'));
  await page.goto(`/explore?${new URLSearchParams({ schemaVersion: '1', orgId: '1', panes: JSON.stringify(panes) })}`);
  expect((await asked).ok()).toBe(true);
  await expect(page.getByText(/no data/i)).toHaveCount(0);
  await expect(page.getByText('Severity').first()).toBeVisible();
  expect(troubles).toEqual([]);
});

test('alerts are annotations of a dashboard', async ({ page, troubles }) => {
  const asked = page.waitForResponse(
    (r) => r.url().includes('/api/ds/query') && (r.request().postData() ?? '').includes('"Anno"')
  );
  await page.goto('/d/astray-overview?from=now-30d&to=now');
  const answer = await (await asked).json();
  const frame = answer.results.Anno.frames[0];
  expect(frame.schema.fields.map((f: { name: string }) => f.name)).toEqual(
    expect.arrayContaining(['time', 'timeEnd', 'title', 'text', 'tags'])
  );
  expect(frame.data.values[0].length).toBeGreaterThan(0);
  expect(troubles).toEqual([]);
});

test('both alert rules are evaluated', async ({ request }) => {
  await expect(async () => {
    const answer = await (await request.get('/api/prometheus/grafana/api/v1/rules')).json();
    const rules = answer.data.groups.flatMap((g: { rules: unknown[] }) => g.rules);
    expect(rules.map((r: { name: string }) => r.name).sort()).toEqual([
      'Critical alert open for 15 minutes',
      'No data arriving',
    ]);
    for (const r of rules) {
      expect(r.health, `${r.name}: ${r.lastError ?? ''}`).toBe('ok');
      expect(r.lastEvaluation).not.toMatch(/^0001/);
    }
  }).toPass({ timeout: 100_000 });
});

for (const [uid, titles] of Object.entries({
  'astray-overview': [
    'Events per second',
    'Newest event',
    'Not closed, by severity',
    'Alerts',
    'Most alerts',
    'Most active',
  ],
  'astray-agent': [
    'Activity',
    'Distinct objects',
    'Its alerts',
    'Whom and what it touches',
    'What it read, wrote and reached',
    'Events',
  ],
  'astray-investigation': ['Events', 'Who used the credential', 'What the credential reached', 'Alerts of this time'],
  'astray-pipeline-health': ['Newest event', 'Lag', 'Events per second', 'Dead letters', 'Late events', 'All of it'],
})) {
  test(`the dashboard ${uid} shows data in every panel`, async ({ page, request, troubles }) => {
    await page.setViewportSize({ width: 1440, height: 2600 }); // panels out of sight are not loaded
    const [row] = await alerts(request, '&entity_kind=agent');
    const events = await (
      await request.get(`/api/plugins/astray-app/resources/alerts/${row.id}/events?limit=1`)
    ).json();
    const variables = new URLSearchParams({
      ...MONTH,
      'var-agent': row.entity_id,
      'var-credential': events.events[0].credential_id,
    });
    await page.goto(`/d/${uid}?${variables}`);
    for (const title of titles) {
      const panel = page.getByTestId(`data-testid Panel header ${title}`);
      await expect(panel).toBeVisible();
      await expect(panel.getByText('No data', { exact: true })).toHaveCount(0);
    }
    await expect(page.getByText('Computing layout')).toHaveCount(0, { timeout: 90_000 });
    await expect(page.getByText('No data', { exact: true })).toHaveCount(0);
    await expect(page.getByText('An unexpected error happened')).toHaveCount(0);
    await expect(shownErrors(page)).toHaveCount(0);
    expect(troubles).toEqual([]);
  });
}

test('a row of the alerts panel opens the alert', async ({ page }) => {
  await page.goto('/d/astray-overview?from=now-30d&to=now');
  await page.locator('a[href*="/a/astray-app/alert?id="]').first().click();
  await expect(page.getByRole('heading', { name: 'Evidence' })).toBeVisible();
});

test('the variables offer what the database knows', async ({ page }) => {
  const asked = page.waitForResponse((r) => r.url().includes('/resources/values') && r.url().includes('of=detectors'));
  await page.goto('/d/astray-overview?from=now-30d&to=now');
  const { values } = await (await asked).json();
  expect(values.length).toBeGreaterThan(0);
});
