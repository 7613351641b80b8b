import React, { lazy, Suspense, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter, NavLink, Route, Routes } from 'react-router-dom';
import { css } from '@emotion/css';
import {
  AppEvents,
  type AppPluginMeta,
  createTheme,
  EventBusSrv,
  type GrafanaTheme2,
  PluginType,
  ThemeContext,
} from '@grafana/data';
import {
  type BackendSrv,
  type BackendSrvRequest,
  config,
  type FetchResponse,
  setAppEvents,
  setBackendSrv,
  setTemplateSrv,
  type TemplateSrv,
} from '@grafana/runtime';
import { Alert, GlobalStyles, PortalContainer, useStyles2 } from '@grafana/ui';
import { from } from 'rxjs';
import App from '../src/App';
import pluginJson from '../src/plugin.json';

// The pages as Grafana mounts them, with the real @grafana packages and the real plugin backend, without Grafana.

const Configuration = lazy(() => import('../src/pages/Configuration'));
const QueryEditorPage = lazy(() => import('./QueryEditorPage'));
const PanelPage = lazy(() => import('./PanelPage'));

const { user } = config.bootData;

async function send<T>(request: BackendSrvRequest): Promise<FetchResponse<T>> {
  const response = await fetch(request.url, {
    method: request.method ?? 'GET',
    headers: { 'Content-Type': 'application/json', 'X-Astray-Role': user.orgRole, 'X-Astray-Login': user.login },
    body: request.data === undefined ? undefined : JSON.stringify(request.data),
  });
  const text = await response.text();
  let data: unknown = {};
  try {
    data = text ? JSON.parse(text) : {};
  } catch {
    data = { message: text };
  }
  if (!response.ok) {
    throw { status: response.status, statusText: response.statusText, data, config: request };
  }
  return {
    data: data as T,
    status: response.status,
    statusText: response.statusText,
    ok: true,
    headers: response.headers,
    redirected: false,
    type: response.type,
    url: response.url,
    config: request,
  };
}

const backend: Partial<BackendSrv> = {
  fetch: <T,>(request: BackendSrvRequest) => from(send<T>(request)),
  get: async (url, params) => (await send<never>({ url: params ? `${url}?${new URLSearchParams(params)}` : url })).data,
  post: async (url, data) => (await send<never>({ url, method: 'POST', data })).data,
};
setBackendSrv(backend as BackendSrv);
setTemplateSrv({
  replace: (s?: string) => s ?? '',
  getVariables: () => [],
  containsTemplate: () => false,
  updateTimeRange: () => undefined,
} as unknown as TemplateSrv);
const events = new EventBusSrv();
setAppEvents(events);

function Toasts() {
  const [toasts, setToasts] = useState<Array<{ id: number; severity: 'success' | 'error' | 'warning'; text: string }>>(
    []
  );
  useEffect(() => {
    let id = 0;
    const listen = (event: (typeof AppEvents)['alertError'], severity: 'success' | 'error' | 'warning') =>
      events.on(event, (payload) => {
        const toast = { id: id++, severity, text: String(payload?.[0] ?? '') };
        setToasts((t) => [...t, toast]);
        setTimeout(() => setToasts((t) => t.filter((o) => o.id !== toast.id)), 2500);
      });
    listen(AppEvents.alertSuccess, 'success');
    listen(AppEvents.alertError, 'error');
    listen(AppEvents.alertWarning, 'warning');
  }, []);
  return (
    <div style={{ position: 'fixed', right: 16, top: 56, width: 380, zIndex: 2000 }} role="status">
      {toasts.map((t) => (
        <Alert key={t.id} severity={t.severity} title={t.text} elevated />
      ))}
    </div>
  );
}

const meta = {
  id: pluginJson.id,
  name: 'Astray',
  type: PluginType.app,
  enabled: true,
  jsonData: { address: '127.0.0.1:9000', username: 'analyst' },
  secureJsonFields: {},
} as unknown as AppPluginMeta;

function Frame() {
  const styles = useStyles2(getStyles);
  const link = (to: string, name: string) => <NavLink to={to}>{name}</NavLink>;
  return (
    <>
      <header className={styles.bar}>
        <strong>Astray</strong>
        <nav aria-label="Pages">
          {link('/a/astray-app/triage', 'Triage')}
          {link('/a/astray-app/fleet', 'Fleet')}
          {link('/a/astray-app/entity', 'Entities')}
          {link('/plugins/astray-app', 'Configuration')}
        </nav>
        <span>
          {user.login}, {user.orgRole}
        </span>
      </header>
      <main className={styles.main}>
        <Suspense fallback={null}>
          <Routes>
            <Route path="/a/astray-app/*" element={<App {...({} as React.ComponentProps<typeof App>)} />} />
            <Route
              path="/plugins/astray-app"
              element={
                <>
                  <h1 className={styles.h1}>Configuration</h1>
                  <Configuration meta={meta} />
                </>
              }
            />
            <Route path="/harness/query-editor" element={<QueryEditorPage />} />
            <Route path="/harness/panel" element={<PanelPage />} />
            <Route path="*" element={<NavLink to="/a/astray-app/triage">Triage</NavLink>} />
          </Routes>
        </Suspense>
      </main>
      <Toasts />
      <PortalContainer />
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  bar: css({
    display: 'flex',
    alignItems: 'center',
    gap: 24,
    height: 44,
    padding: '0 16px',
    background: theme.colors.background.primary,
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    '& nav': { display: 'flex', gap: 16, flex: 1 },
    '& a': { color: theme.colors.text.secondary },
    '& a.active': { color: theme.colors.text.primary },
  }),
  main: css({ padding: 16 }),
  h1: css({ fontSize: theme.typography.h3.fontSize }),
});

document.body.style.margin = '0';
createRoot(document.getElementById('app')!).render(
  <ThemeContext.Provider value={createTheme({ colors: { mode: user.theme === 'light' ? 'light' : 'dark' } })}>
    <GlobalStyles />
    <BrowserRouter>
      <Frame />
    </BrowserRouter>
  </ThemeContext.Provider>
);
