import React, { Suspense, lazy } from 'react';
import { AppPlugin, type AppRootProps, type PluginConfigPageProps, type AppPluginMeta } from '@grafana/data';
import { LoadingPlaceholder } from '@grafana/ui';

const LazyApp = lazy(() => import('./App'));
const LazyConfiguration = lazy(() => import('./pages/Configuration'));

const Root = (props: AppRootProps) => (
  <Suspense fallback={<LoadingPlaceholder text="Loading Astray" />}>
    <LazyApp {...props} />
  </Suspense>
);

const ConfigPage = (props: PluginConfigPageProps<AppPluginMeta>) => (
  <Suspense fallback={<LoadingPlaceholder text="Loading" />}>
    <LazyConfiguration meta={props.plugin.meta} />
  </Suspense>
);

export const plugin = new AppPlugin<{}>().setRootPage(Root).addConfigPage({
  title: 'Configuration',
  icon: 'cog',
  body: ConfigPage,
  id: 'configuration',
});
