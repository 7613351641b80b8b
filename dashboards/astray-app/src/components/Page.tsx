import React, { type PropsWithChildren } from 'react';
import { type NavModelItem, PageLayoutType } from '@grafana/data';
import { PluginPage } from '@grafana/runtime';

/** A page that has a heading of its own: Grafana's chrome around it, without the heading that Grafana would add. */
export function Page({ nav, children }: PropsWithChildren<{ nav?: NavModelItem }>) {
  return (
    <PluginPage layout={PageLayoutType.Canvas} pageNav={nav}>
      {children}
    </PluginPage>
  );
}
