import { test as base } from '@grafana/plugin-e2e';
import { type APIRequestContext, type Page, type PlaywrightWorkerArgs } from '@playwright/test';
import pluginJson from '../../src/plugin.json';

export { expect } from '@grafana/plugin-e2e';

/** What went wrong in a page beside what the test looks at: errors of scripts, and refused requests to the plugin. */
interface Fixtures {
  troubles: string[];
}

export const test = base.extend<Fixtures>({
  troubles: [
    async ({ page }, use) => {
      const troubles: string[] = [];
      page.on('pageerror', (e) => troubles.push(e.message));
      page.on('response', (r) => {
        if (r.status() >= 400 && /astray|\/api\/ds\/query/.test(r.url()) && !r.url().includes('/api/gnet/')) {
          troubles.push(`${r.status()} ${r.url()}`);
        }
      });
      await use(troubles);
    },
    { auto: true },
  ],
});

export const app = (path: string) => `/a/${pluginJson.id}${path}`;
export const resources = `/api/plugins/${pluginJson.id}/resources`;

const DAY = 24 * 3600_000;

export interface Row {
  id: string;
  title: string;
  entity_kind: string;
  entity_id: string;
  state: string;
}

/** The alerts of a month; the demo's world lives some days in the past. */
export async function alerts(request: APIRequestContext, query = ''): Promise<Row[]> {
  const answer = await request.get(`${resources}/alerts?from=${Date.now() - 30 * DAY}&to=${Date.now()}${query}`);
  const { alerts: rows } = await answer.json();
  if (!rows?.length) {
    throw new Error('this Grafana shows no alerts: let it look at the database of `astray demo`');
  }
  return rows;
}

export type Role = 'Viewer' | 'Editor' | 'Admin';

/** A person of a role: their requests, made with a password of their own. */
export async function person(
  admin: APIRequestContext,
  playwright: PlaywrightWorkerArgs['playwright'],
  baseURL: string,
  role: Role
) {
  const user = { name: role, login: `e2e-${role.toLowerCase()}`, password: `e2e-${role}-${Date.now()}` };
  const found = await admin.get(`/api/users/lookup?loginOrEmail=${user.login}`);
  if (found.ok()) {
    await admin.delete(`/api/admin/users/${(await found.json()).id}`);
  }
  const made = await admin.post('/api/admin/users', { data: user });
  if (!made.ok()) {
    throw new Error(`user ${user.login}: ${await made.text()}`);
  }
  const { id } = await made.json();
  await admin.patch(`/api/org/users/${id}`, { data: { role } });
  const request = await playwright.request.newContext({ baseURL });
  const login = await request.post('/login', { data: { user: user.login, password: user.password } });
  if (!login.ok()) {
    throw new Error(`login of ${user.login}: ${await login.text()}`);
  }
  return { request, login: user.login };
}

/** Errors that a dashboard or a page shows. */
export const shownErrors = (page: Page) =>
  page.locator('[data-testid*="Panel status error"], [data-testid*="alert error" i], [aria-label="Panel status"]');
