import { alerts, expect, type Row, test } from './astray';

test('an alert of each detector is explained in full', async ({ page }) => {
  const each = new Map<string, Row>();
  (await alerts(page)).forEach((a) => !a.id.startsWith('hostile') && each.set(a.detector, a));
  expect(each.size).toBeGreaterThan(3);
  for (const alert of each.values()) {
    await test.step(alert.detector, async () => {
      await page.goto(`/a/astray-app/alert?id=${encodeURIComponent(alert.id)}`);
      const parts = page.getByText(/ % of the score$/);
      await expect(parts.first()).toBeVisible();
      const shares = await parts.evaluateAll((all) => all.map((e) => parseInt(e.textContent ?? '', 10) || 0));
      expect(Math.abs(shares.reduce((a, b) => a + b, 0) - 100)).toBeLessThanOrEqual(shares.length);
      expect([...shares].sort((a, b) => b - a)).toEqual(shares);
      await expect(page.getByText('Loading', { exact: true })).toHaveCount(0);
      await expect(page.locator('[data-testid="data-testid Alert error"]')).toHaveCount(0);
    });
  }
});
