import { active, expect, test } from './astray';

const MANY = process.env.ASTRAY_HARNESS_MANY_URL ?? 'http://127.0.0.1:4128';

/** How many times slower than alone this process runs, for all else that the machine does: wall time by CPU time. */
function crowding(): number {
  const start = performance.now();
  const before = process.cpuUsage();
  let used = 0;
  while (used < 150) {
    const { user, system } = process.cpuUsage(before);
    used = (user + system) / 1000;
  }
  return Math.max(1, (performance.now() - start) / used);
}

test('10,000 alerts: interactive in under 2 s, and fluid', async ({ page }) => {
  // Once to fill the browser's cache, as for an analyst who has the page open every day.
  await page.goto(`${MANY}/a/astray-app/triage?range=1y&state=`);
  await expect(page.getByText(/^10(\.\d)? k alerts/)).toBeVisible();

  // What else runs on the machine only adds to a time, so that the best of a few is the page's own.
  const took: number[] = [];
  const crowded: number[] = [];
  while (took.length < 5 && !took.some((t) => t < 2000)) {
    crowded.push(crowding());
    await page.goto(`${MANY}/a/astray-app/triage?range=1y&state=`);
    await page.locator('[data-id]').first().waitFor();
    await page.keyboard.press('j');
    await active(page).waitFor();
    took.push(await page.evaluate(() => performance.now()));
  }
  const list = (all: number[], digits: number) => all.map((x) => x.toFixed(digits)).join(', ');
  console.log(
    `time to interactive with 10,000 alerts: ${list(took, 0)} ms on a machine ${list(crowded, 1)} times slower`
  );
  const share = took.map((t, i) => t / crowded[i]);
  expect(Math.min(...share)).toBeLessThan(2000);
  expect(await page.locator('[data-id]').count()).toBeLessThan(80);

  const frames = await page.evaluate(async () => {
    const box = document.querySelector('[data-testid=queue]')!;
    const gaps: number[] = [];
    let last = performance.now();
    for (let i = 0; i < 60; i++) {
      box.scrollTop += 900;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
    return gaps.sort((a, b) => a - b);
  });
  console.log(`frames while scrolling: median ${Math.round(frames[30])} ms, 95 % ${Math.round(frames[57])} ms`);
  // With a software renderer on two shared cores, twenty new rows a frame.
  expect(frames[30]).toBeLessThan(100 * crowding());
});
