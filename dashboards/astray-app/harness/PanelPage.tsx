import React, { useState } from 'react';
import { dataFrameFromJSON, dateTime, LoadingState, type PanelProps } from '@grafana/data';
import { getBackendSrv } from '@grafana/runtime';
import { Alert } from '@grafana/ui';
import { AlertsPanel, type AlertsPanelOptions } from '../src/astray-alerts-panel/AlertsPanel';
import { useLoad } from '../src/useLoad';

/** The panel, with the frames that the backend gives to a query of the type alerts. */
export default function PanelPage() {
  const [range] = useState(() => ({ from: Date.now() - 365 * 24 * 3600_000, to: Date.now() + 24 * 3600_000 }));
  const loaded = useLoad(async () => {
    const answer = await getBackendSrv().post('/api/ds/query', {
      from: String(range.from),
      to: String(range.to),
      queries: [
        {
          refId: 'A',
          datasource: { uid: 'astray', type: 'astray-datasource' },
          queryType: 'alerts',
          limit: 500,
          maxDataPoints: 500,
          intervalMs: 60000,
        },
      ],
    });
    return answer.results.A.frames.map(dataFrameFromJSON);
  }, []);
  if (loaded.error) {
    return <Alert severity="error" title={loaded.error} />;
  }
  const time = { from: dateTime(range.from), to: dateTime(range.to) };
  const props = {
    id: 1,
    data: { state: LoadingState.Done, series: loaded.data ?? [], timeRange: { ...time, raw: time } },
    width: 900,
    height: 520,
    options: { showDetector: true, showEntity: true, dense: false },
    fieldConfig: { defaults: {}, overrides: [] },
  } as unknown as PanelProps<AlertsPanelOptions>;
  return (
    <>
      <h1>Alerts panel</h1>
      {loaded.data && <AlertsPanel {...props} />}
    </>
  );
}
