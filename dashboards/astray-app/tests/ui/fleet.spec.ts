import { expect, test } from './astray';

const DAYS = 24 * 3600_000;

test('where nothing came in lately, the fleet shows the last that did, and says so', async ({ page }) => {
  // The clock goes on for a month without any event.
  await page.clock.setFixedTime(Date.now() + 32 * DAYS);
  await page.goto('/a/astray-app/fleet');
  await expect(page.getByText('No event in the last 24 hours')).toBeVisible();
  await expect(page.getByRole('img', { name: /Events over time/ })).toBeVisible();
  await page.getByRole('link', { name: 'Look at the last 30 days' }).click();
  await expect(page.getByText(/^No agent was active in this time/)).toBeVisible();
  await page.getByRole('link', { name: 'look at the day up to it' }).click();
  await expect(page.getByText(/^up to \d{4}-/)).toBeVisible();
  await expect(page.getByRole('img', { name: /Events over time/ })).toBeVisible();
  await expect(page.getByText('No event in the last 24 hours')).toHaveCount(0);
});
