import { expect, type Page, test as base } from '@playwright/test';

const RESOURCES = '/api/plugins/astray-app/resources';

/**
 * A page that fails its test when the page itself fails: an exception, or an error on the console. With `refusals`,
 * questions that the backend refuses as bad are no failure, whenever the answer comes.
 */
export const test = base.extend<{ faults: string[]; refusals: boolean }>({
  refusals: [false, { option: true }],
  faults: [
    async ({ page, refusals }, use) => {
      const faults: string[] = [];
      page.on('pageerror', (e) => faults.push(e.message));
      page.on('console', (m) => {
        if (m.type() === 'error' && !(refusals && m.text().includes('status of 400'))) {
          faults.push(m.text());
        }
      });
      page.on('dialog', (d) => {
        faults.push(`a dialog came up: ${d.message()}`);
        void d.dismiss();
      });
      await use(faults);
      expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export interface Row {
  id: string;
  title: string;
  state: string;
  detector: string;
  entity_kind: string;
  entity_id: string;
  last_seen: string;
}

/** Talks to the backend directly, as somebody. */
export async function ask<T>(
  page: Page,
  path: string,
  as: { role?: string; login?: string } = {},
  body?: unknown
): Promise<T> {
  const headers = {
    'X-Astray-Role': as.role ?? 'Editor',
    'X-Astray-Login': as.login ?? 'bea',
    'Content-Type': 'application/json',
  };
  const answer =
    body === undefined
      ? await page.request.get(`${RESOURCES}/${path}`, { headers })
      : await page.request.post(`${RESOURCES}/${path}`, { headers, data: body });
  expect(answer.status(), `${path}: ${await answer.text()}`).toBe(200);
  return (await answer.json()) as T;
}

export async function alerts(page: Page): Promise<Row[]> {
  const { alerts: rows } = await ask<{ alerts: Row[] }>(
    page,
    `alerts?from=${Date.now() - 365 * 86_400_000}&to=${Date.now() + 86_400_000}&limit=20000`
  );
  return rows;
}

/** Opens the queue over all time, with every state, and waits until it can be used. */
export async function queue(page: Page, search = 'range=1y') {
  await page.goto(`/a/astray-app/triage?${search}`);
  await expect(page.getByTestId('queue').locator('[data-id]').first()).toBeVisible();
}

export const active = (page: Page) => page.locator('[data-id][data-active=true]');
