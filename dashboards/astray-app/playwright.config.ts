import type { PluginOptions } from '@grafana/plugin-e2e';
import { defineConfig, devices } from '@playwright/test';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';

const pluginE2eAuth = `${dirname(require.resolve('@grafana/plugin-e2e'))}/auth`;
const chromium =
  process.env.CHROMIUM ??
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p));
const admin = { user: process.env.GRAFANA_USER ?? 'admin', password: process.env.GRAFANA_PASSWORD ?? 'admin' };

/**
 * Tests against a Grafana that has the plugin and the demo's data: GRAFANA_URL, GRAFANA_USER (admin) and
 * GRAFANA_PASSWORD (admin), as `astray demo` prints them.
 */
export default defineConfig<PluginOptions>({
  testDir: './tests/e2e',
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    baseURL: process.env.GRAFANA_URL || 'http://localhost:3000',
    grafanaAPICredentials: admin,
    user: admin,
    viewport: { width: 1440, height: 1100 },
    actionTimeout: 30_000,
    timezoneId: 'UTC',
    locale: 'en-GB',
    launchOptions: { executablePath: chromium, args: ['--no-sandbox'] },
  },
  projects: [
    { name: 'auth', testDir: pluginE2eAuth, testMatch: [/.*\.js/] },
    {
      name: 'chromium',
      use: {
        ...devices['Desktop Chrome'],
        viewport: { width: 1440, height: 1100 },
        storageState: `playwright/.auth/${admin.user}.json`,
      },
      dependencies: ['auth'],
    },
  ],
});
