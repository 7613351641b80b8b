import { defineConfig } from '@playwright/test';
import { existsSync } from 'node:fs';

/**
 * Tests of the real pages, with the real @grafana/ui and the real plugin backend, in Debian's Chromium. The backend's
 * harness serves both, filled by the simulator; ASTRAY_HARNESS_URL names one that runs already.
 */
const chromium =
  process.env.CHROMIUM ??
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p));
const url = process.env.ASTRAY_HARNESS_URL ?? 'http://127.0.0.1:4127';
const many = 'http://127.0.0.1:4128';

export default defineConfig({
  testDir: './tests/ui',
  workers: 1,
  forbidOnly: Boolean(process.env.CI),
  reporter: [['list']],
  timeout: 60_000,
  use: {
    baseURL: url,
    viewport: { width: 1440, height: 900 },
    actionTimeout: 8_000,
    timezoneId: 'UTC',
    locale: 'en-GB',
    launchOptions: { executablePath: chromium, args: ['--no-sandbox'] },
  },
  projects: [
    { name: 'pages', testIgnore: /screenshots/ },
    { name: 'screenshots', testMatch: /screenshots/ },
  ],
  webServer: process.env.ASTRAY_HARNESS_URL
    ? undefined
    : [
        serve(url, process.env.ASTRAY_PICTURES ? '--simulate --agents 150' : '--simulate --hostile'),
        serve(many, '--simulate --days 1 --agents 20 --alerts 10000'),
      ],
});

function serve(address: string, flags: string) {
  return {
    command: `go run ./cmd/gpx_astray/harness --listen ${new URL(address).host} --static dashboards/astray-app/harness/dist ${flags}`,
    cwd: '../..',
    url: address,
    timeout: 300_000,
    stdout: 'ignore' as const,
    stderr: 'ignore' as const,
    gracefulShutdown: { signal: 'SIGTERM' as const, timeout: 20_000 },
  };
}
