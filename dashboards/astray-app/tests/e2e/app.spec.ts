import { alerts, app, expect, person, resources, type Role, test } from './fixtures';

// Against a Grafana that has the plugin and the demo's data; `astray demo --grafana-home DIR` prints all three:
// GRAFANA_URL=http://… GRAFANA_USER=admin GRAFANA_PASSWORD=… npm run e2e
test.skip(!process.env.GRAFANA_URL, 'GRAFANA_URL names no Grafana: the end-to-end tests were not run');

test('the queue fills, is filtered, and opens an alert from the keyboard', async ({ page, troubles }) => {
  await page.goto(app('/triage?range=30d'));
  await expect(page.getByRole('heading', { name: 'Triage' })).toBeAttached();
  const rows = page.getByTestId('queue').locator('[data-id]');
  await expect(rows.first()).toBeVisible();
  await page.getByLabel('Search title or entity').fill('no such thing at all');
  await expect(page.getByText(/None of the .* match/)).toBeVisible();
  await page.getByLabel('Search title or entity').fill('');
  await expect(rows.first()).toBeVisible();
  await page.getByTestId('queue').focus();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Evidence' })).toBeVisible();
  expect(troubles).toEqual([]);
});

test('every column of the queue fits beside the menu', async ({ page }) => {
  await page.goto(app('/triage?range=30d'));
  await expect(page.getByTestId('queue').locator('[data-id]').first()).toBeVisible();
  const [inner, outer] = await page.getByTestId('queue').evaluate((e) => [e.scrollWidth, e.clientWidth]);
  expect(inner).toBeLessThanOrEqual(outer + 1);
  await expect(page.getByRole('columnheader', { name: 'Assignee' })).toBeInViewport();
});

test('an alert is explained and commented, and the audit trail shows who did it', async ({
  page,
  request,
  troubles,
}) => {
  const [row] = await alerts(request, '&entity_kind=agent');
  await page.goto(app(`/alert?id=${encodeURIComponent(row.id)}`));
  for (const name of ['Evidence', 'Involved', 'Blast radius', 'Audit trail']) {
    await expect(page.getByRole('heading', { name, exact: true })).toBeVisible();
  }
  const why = `seen in Grafana at ${Date.now()}`;
  await page.getByRole('button', { name: 'Comment', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox').fill(why);
  await dialog.getByRole('button', { name: 'Comment' }).click();
  const trail = page.getByRole('region', { name: 'Audit trail' });
  await expect(trail).toContainText(why);
  await expect(trail).toContainText(process.env.GRAFANA_USER ?? 'admin');
  expect(troubles).toEqual([]);
});

test('an agent has habits, baselines and alerts', async ({ page, request, troubles }) => {
  const [row] = await alerts(request, '&entity_kind=agent');
  await page.goto(app(`/entity?kind=agent&id=${encodeURIComponent(row.entity_id)}`));
  await expect(page.getByRole('heading', { name: row.entity_id })).toBeVisible();
  for (const name of ['Habits', 'Services', 'Baselines']) {
    await expect(page.getByRole('heading', { name, exact: true })).toBeVisible();
  }
  expect(troubles).toEqual([]);
});

test('the fleet shows what happened, and an empty time leads to a longer one', async ({ page, troubles }) => {
  await page.goto(app('/fleet?range=1h'));
  const longer = page.getByRole('link', { name: 'look at the day up to it' });
  await expect(longer.or(page.getByRole('img', { name: /events/i }).first())).toBeVisible();
  await page.goto(app('/fleet?range=30d'));
  await expect(page.getByRole('heading', { name: 'Alerts by detector' })).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Alert budget' })).toBeVisible();
  await expect(page.getByText('None in this time.')).toHaveCount(0);
  expect(troubles).toEqual([]);
});

test('the configuration is shown and can be tested', async ({ gotoAppConfigPage, page, troubles }) => {
  await gotoAppConfigPage({ pluginId: 'astray-app' });
  await expect(page.getByRole('heading', { name: 'Retention' })).toBeVisible();
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await expect(page.getByText(/Connected to ClickHouse/).first()).toBeVisible();
  expect(troubles).toEqual([]);
});

// Checked where it counts: every call below goes through Grafana to the backend, with the caller's own session.
test('a Viewer reads, an Editor triages, an Admin configures', async ({ request, playwright, baseURL }) => {
  const [row] = await alerts(request);
  const span = `from=${Date.now() - 3600_000}&to=${Date.now()}`;
  const may: Record<Role, { read: number; triage: number; test: number }> = {
    Viewer: { read: 200, triage: 403, test: 403 },
    Editor: { read: 200, triage: 200, test: 403 },
    Admin: { read: 200, triage: 200, test: 200 },
  };
  for (const role of ['Viewer', 'Editor', 'Admin'] as const) {
    const who = await person(request, playwright, baseURL!, role);
    const me = await (await who.request.get(`${resources}/me`)).json();
    expect(me).toMatchObject({ login: who.login, role });
    const read = await who.request.get(`${resources}/alerts?${span}`);
    const triage = await who.request.post(`${resources}/actions`, {
      data: { ids: [row.id], action: 'comment', why: `tried as ${role}` },
    });
    const tested = await who.request.post(`${resources}/test`);
    const suppress = await who.request.post(`${resources}/suppressions`, { data: {} });
    expect({ read: read.status(), triage: triage.status(), test: tested.status() }, role).toEqual(may[role]);
    expect(suppress.status(), role).toBe(role === 'Viewer' ? 403 : 400);
    await who.request.dispose();
  }
});

test('a Viewer sees no button that would be refused', async ({ request, playwright, baseURL, browser }) => {
  const [row] = await alerts(request);
  const who = await person(request, playwright, baseURL!, 'Viewer');
  const context = await browser.newContext({ baseURL, storageState: await who.request.storageState() });
  const page = await context.newPage();
  await page.goto(app(`/alert?id=${encodeURIComponent(row.id)}`));
  await expect(page.getByRole('heading', { name: 'Evidence' })).toBeVisible();
  for (const name of ['Close with a verdict', 'Acknowledge', 'Suppress…']) {
    const buttons = page.getByRole('button', { name });
    for (const button of await buttons.all()) {
      await expect(button).toBeDisabled();
    }
  }
  await context.close();
});
