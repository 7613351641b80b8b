import AxeBuilder from '@axe-core/playwright';
import { alerts, expect, test } from './astray';

const pages: Array<[string, (a: { id: string; entity_kind: string; entity_id: string }) => string]> = [
  ['triage', () => '/a/astray-app/triage?range=1y'],
  ['alert', (a) => `/a/astray-app/alert?id=${encodeURIComponent(a.id)}`],
  ['agent', (a) => `/a/astray-app/entity?kind=agent&id=${encodeURIComponent(a.entity_id)}`],
  ['entities', () => '/a/astray-app/entity'],
  ['fleet', () => '/a/astray-app/fleet?range=1y'],
  ['configuration', () => '/plugins/astray-app'],
  ['query editor', () => '/harness/query-editor'],
  ['panel', () => '/harness/panel'],
];

for (const theme of ['dark', 'light']) {
  for (const [width, height] of [
    [1440, 900],
    [2560, 1440],
  ]) {
    for (const [name, address] of pages) {
      test(`${name}, ${theme}, ${width} px: data, no fault, accessible`, async ({ page }) => {
        await page.setViewportSize({ width, height });
        const alert = (await alerts(page)).find((a) => a.entity_kind === 'agent');
        const url = address(alert!);
        await page.goto(`${url}${url.includes('?') ? '&' : '?'}theme=${theme}&role=Admin`);
        await page.waitForLoadState('networkidle', { timeout: 5_000 }).catch(() => undefined);
        await expect(page.getByText('Loading', { exact: true })).toHaveCount(0);
        await expect(page.locator('[data-testid="data-testid Alert error"]')).toHaveCount(0);
        await expect(page.getByRole('heading', { level: 1 }).first()).toBeAttached();
        const { violations } = await new AxeBuilder({ page })
          .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'])
          .analyze();
        expect(
          violations.map(
            (v) =>
              `${v.id}: ${v.nodes
                .slice(0, 3)
                .map((n) => n.html.slice(0, 160))
                .join(' | ')}`
          )
        ).toEqual([]);
        const wider = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth
        );
        expect(wider, 'the page scrolls sideways').toBeLessThanOrEqual(0);
      });
    }
  }
}
