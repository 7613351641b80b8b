import { type AstrayQuery } from '../src/astray-datasource/types';

// Provisioned rules have a form of their own that the SDK's types do not cover; they are written as plain data.

interface Rule {
  uid: string;
  title: string;
  query: Partial<AstrayQuery>;
  rangeSeconds: number;
  /** When the number makes it fire. */
  fires: { type: 'gt' | 'outside_range'; params: number[] };
  pending: string;
  noData: 'OK' | 'Alerting' | 'NoData';
  summary: string;
  description: string;
  severity: string;
}

const expression = { type: '__expr__', uid: '__expr__' };

function rule(r: Rule) {
  return {
    uid: r.uid,
    title: r.title,
    condition: 'C',
    for: r.pending,
    noDataState: r.noData,
    execErrState: 'Error',
    labels: { severity: r.severity, product: 'astray' },
    annotations: { summary: r.summary, description: r.description },
    data: [
      {
        refId: 'A',
        relativeTimeRange: { from: r.rangeSeconds, to: 0 },
        datasourceUid: 'astray',
        model: { refId: 'A', ...r.query },
      },
      {
        refId: 'B',
        datasourceUid: '__expr__',
        model: { refId: 'B', type: 'reduce', reducer: 'last', expression: 'A', datasource: expression },
      },
      {
        refId: 'C',
        datasourceUid: '__expr__',
        model: {
          refId: 'C',
          type: 'threshold',
          expression: 'B',
          datasource: expression,
          conditions: [{ evaluator: r.fires }],
        },
      },
    ],
  };
}

export const alerting = () => ({
  apiVersion: 1,
  groups: [
    {
      orgId: 1,
      name: 'astray',
      folder: 'Astray',
      interval: '1m',
      rules: [
        rule({
          uid: 'astray-no-data',
          title: 'No data arriving',
          query: { queryType: 'health', metric: 'freshness_seconds' },
          rangeSeconds: 3600,
          // -1 says that there is no event at all.
          fires: { type: 'outside_range', params: [0, 300] },
          pending: '2m',
          noData: 'Alerting',
          severity: 'high',
          summary: 'Astray sees no new events',
          description:
            'The newest stored event is older than five minutes. Nothing is watched while this lasts: look at the dashboard Pipeline health.',
        }),
        rule({
          uid: 'astray-critical-open',
          title: 'Critical alert open for 15 minutes',
          query: {
            queryType: 'alerts',
            format: 'count',
            severity: ['critical'],
            state: ['open'],
            olderThanSeconds: 900,
          },
          rangeSeconds: 7 * 24 * 3600,
          fires: { type: 'gt', params: [0] },
          pending: '0s',
          noData: 'OK',
          severity: 'critical',
          summary: 'A critical alert waits',
          description: 'A critical alert of Astray has been open for 15 minutes and nobody has acknowledged it.',
        }),
      ],
    },
  ],
});

export const datasources = () => ({
  apiVersion: 1,
  datasources: [
    {
      name: 'Astray',
      uid: 'astray',
      type: 'astray-datasource',
      access: 'proxy',
      isDefault: false,
      editable: true,
      jsonData: {
        address: '$ASTRAY_CLICKHOUSE_ADDRESS',
        database: '$ASTRAY_CLICKHOUSE_DATABASE',
        username: '$ASTRAY_CLICKHOUSE_USER',
      },
      secureJsonData: { password: '$ASTRAY_CLICKHOUSE_PASSWORD' },
    },
  ],
});

export const plugins = () => ({
  apiVersion: 1,
  apps: [
    {
      type: 'astray-app',
      org_id: 1,
      disabled: false,
      jsonData: {
        address: '$ASTRAY_CLICKHOUSE_ADDRESS',
        database: '$ASTRAY_CLICKHOUSE_DATABASE',
        username: '$ASTRAY_CLICKHOUSE_USER',
      },
      secureJsonData: { password: '$ASTRAY_CLICKHOUSE_PASSWORD' },
    },
  ],
});

/** Where Grafana finds the dashboards: beside this file, under its own provisioning directory. */
export const providers = () => ({
  apiVersion: 1,
  providers: [
    {
      name: 'astray',
      orgId: 1,
      folder: 'Astray',
      type: 'file',
      disableDeletion: false,
      allowUiUpdates: false,
      options: { path: '$GF_PATHS_PROVISIONING/dashboards' },
    },
  ],
});
