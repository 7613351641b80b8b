import React, { useMemo, useRef } from 'react';
import { css } from '@emotion/css';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type DataFrame, type GrafanaTheme2, type PanelProps } from '@grafana/data';
import { PanelDataErrorView } from '@grafana/runtime';
import { useStyles2 } from '@grafana/ui';
import { type Severity } from '../severities';
import { SeverityMark } from '../components/Severity';
import { paths } from '../constants';
import { ago, percent, words } from '../format';
import { AgentText } from '../text/Text';
import { useNow } from '../useNow';

export interface AlertsPanelOptions {
  showEntity: boolean;
  showDetector: boolean;
  dense: boolean;
}

interface PanelRow {
  id: string;
  severity: Severity;
  title: string;
  entity: string;
  detector: string;
  state: string;
  time: string;
  confidence: number;
}

/** Rows of a frame of alerts; columns are found by name, so that a transformation before the panel does no harm. */
export function rowsOf(frames: DataFrame[]): PanelRow[] {
  return frames.flatMap((frame) => {
    const column = (name: string) => frame.fields.find((f) => f.name === name)?.values;
    const id = column('id');
    const title = column('title');
    if (!id || !title) {
      return [];
    }
    const get = (name: string, i: number): unknown => column(name)?.[i];
    const when = (v: unknown) => (typeof v === 'number' ? new Date(v).toISOString() : String(v ?? ''));
    return Array.from(id, (value, i) => ({
      id: String(value),
      title: String(title[i]),
      severity: String(get('severity', i) ?? 'low') as Severity,
      entity: String(get('entity_id', i) ?? ''),
      detector: String(get('detector', i) ?? ''),
      state: String(get('state', i) ?? ''),
      time: when(get('last_seen', i) ?? get('time', i)),
      confidence: Number(get('confidence', i) ?? 0),
    }));
  });
}

export function AlertsPanel({ data, width, height, options, fieldConfig, id }: PanelProps<AlertsPanelOptions>) {
  const styles = useStyles2(getStyles);
  const now = useNow();
  const rows = useMemo(() => rowsOf(data.series), [data.series]);
  const scroller = useRef<HTMLUListElement>(null);
  const size = options.dense ? 28 : 44;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => size,
    overscan: 6,
  });
  if (data.series.length === 0) {
    return (
      <PanelDataErrorView
        panelId={id}
        fieldConfig={fieldConfig}
        data={data}
        message="A query of the type alerts is needed"
      />
    );
  }
  if (rows.length === 0) {
    return (
      <div className={styles.none} style={{ width, height }}>
        No alerts in this time: every agent keeps to its habits.
      </div>
    );
  }
  return (
    <ul ref={scroller} className={styles.list} style={{ width, height }} aria-label="Alerts" tabIndex={0}>
      <li aria-hidden style={{ height: virtual.getTotalSize() }} />
      {virtual.getVirtualItems().map((item) => {
        const row = rows[item.index];
        return (
          <li key={row.id} className={styles.row} style={{ height: size, transform: `translateY(${item.start}px)` }}>
            <SeverityMark severity={row.severity} />
            <div className={styles.text}>
              <a href={paths.alert(row.id)}>
                <AgentText value={row.title} max={200} />
              </a>
              {!options.dense && (
                <span className={styles.sub}>
                  {options.showDetector && words(row.detector)}
                  {options.showDetector && options.showEntity && ' · '}
                  {options.showEntity && <AgentText value={row.entity} max={40} mono />}
                </span>
              )}
            </div>
            <span className={styles.sub}>{row.state}</span>
            <span className={styles.sub}>{percent(row.confidence)}</span>
            <span className={styles.sub}>{ago(row.time, now)}</span>
          </li>
        );
      })}
    </ul>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', overflow: 'auto', position: 'relative', margin: 0 }),
  row: css({
    position: 'absolute',
    top: 0,
    left: 0,
    right: 0,
    display: 'grid',
    gridTemplateColumns: '16px 1fr auto 52px 72px',
    gap: theme.spacing(1),
    alignItems: 'center',
    padding: theme.spacing(0, 1),
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    '&:hover': { background: theme.colors.action.hover },
  }),
  text: css({
    minWidth: 0,
    display: 'flex',
    flexDirection: 'column',
    lineHeight: 1.3,
    '& > *': { overflow: 'hidden', textOverflow: 'ellipsis', whiteSpace: 'nowrap' },
  }),
  sub: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
  none: css({ display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }),
});
