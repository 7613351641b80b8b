import React from 'react';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import { useStyles2, useTheme2 } from '@grafana/ui';
import { count } from '../format';
import { useWidth } from './useWidth';

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** Events by day of week and hour, UTC: the picture of a habit. Squares of the root, so that quiet hours are seen too. */
export function HeatMap({ heat }: { heat: number[][] }) {
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const [ref, width] = useWidth<HTMLDivElement>(600);
  const most = Math.max(1, ...heat.flat());
  const cell = Math.min(36, (width - 40) / 24);
  const color = theme.visualization.getColorByName('blue');
  const [busy] = heat.flatMap((hours, d) => hours.map((n, h) => ({ n, d, h }))).sort((a, b) => b.n - a.n);
  return (
    <div ref={ref}>
      <svg
        width={40 + cell * 24}
        height={7 * 22 + 22}
        role="img"
        aria-label={
          busy && busy.n > 0
            ? `Hour of the week: busiest on ${DAYS[busy.d]} at ${busy.h}:00 UTC with ${count(busy.n)} events`
            : 'No events in these hours'
        }
      >
        {heat.map((hours, d) => (
          <g key={d} transform={`translate(40 ${d * 22})`}>
            <text x={-8} y={15} textAnchor="end" className={styles.label}>
              {DAYS[d]}
            </text>
            {hours.map((n, h) => (
              <rect
                key={h}
                x={h * cell}
                width={cell - 2}
                height={20}
                rx={2}
                fill={n ? color : theme.colors.background.secondary}
                opacity={n ? 0.15 + 0.85 * Math.sqrt(n / most) : 1}
              >
                <title>{`${DAYS[d]} ${String(h).padStart(2, '0')}:00 UTC: ${count(n)} events`}</title>
              </rect>
            ))}
          </g>
        ))}
        {[0, 6, 12, 18].map((h) => (
          <text
            key={h}
            x={40 + h * cell}
            y={7 * 22 + 14}
            className={styles.label}
          >{`${String(h).padStart(2, '0')}:00`}</text>
        ))}
      </svg>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  label: css({ fill: theme.colors.text.secondary, fontSize: 11 }),
});
