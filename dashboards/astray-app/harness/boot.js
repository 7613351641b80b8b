// What Grafana writes into its page before the packages load. Who asks is chosen by ?role= and kept for the tab.
(() => {
  const query = new URLSearchParams(location.search);
  for (const name of ['theme', 'role', 'login']) {
    if (query.has(name)) {
      sessionStorage.setItem(name, query.get(name));
    }
  }
  const theme = sessionStorage.getItem('theme') || 'dark';
  window.__grafana_public_path__ = '/public/';
  window.grafanaBootData = {
    settings: { buildInfo: { version: '12.4.2', env: 'production' }, datasources: {}, panels: {}, apps: {} },
    user: {
      login: sessionStorage.getItem('login') || 'ann',
      orgRole: sessionStorage.getItem('role') || 'Editor',
      theme,
      lightTheme: theme === 'light',
      timezone: 'utc',
      locale: 'en-US',
      language: 'en-US',
      permissions: {},
    },
    navTree: [],
  };
})();
