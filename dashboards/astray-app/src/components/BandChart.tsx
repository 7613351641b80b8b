import React, { useId, useMemo, useState } from 'react';
import { css } from '@emotion/css';
import { area, curveMonotoneX, curveStepAfter, line } from 'd3-shape';
import { scaleLinear, scaleSymlog, scaleUtc } from 'd3-scale';
import { type GrafanaTheme2 } from '@grafana/data';
import { Button, RadioButtonGroup, useStyles2, useTheme2 } from '@grafana/ui';
import { type ChartPoint } from '../api';
import { bytes, count, instant, span, tick, words } from '../format';
import { useWidth } from './useWidth';

interface Props {
  feature: string;
  unit: string;
  points: ChartPoint[];
  windowSeconds: number;
  marked: { from: string; to: string };
  height?: number;
  /** False: there is no baseline, so no band is drawn. */
  banded?: boolean;
}

const pad = { top: 12, right: 12, bottom: 26, left: 56 };

/** The evidence: what was observed against the band of what the baseline predicts, with the alert's window marked. */
export function BandChart({ feature, unit, points, windowSeconds, marked, height = 260, banded = true }: Props) {
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const clip = useId();
  const [ref, width] = useWidth<HTMLDivElement>();
  const highest = Math.max(1e-9, ...points.map((p) => Math.max(p.observed, p.upper)));
  const bandTop = Math.max(1e-9, ...points.map((p) => p.upper));
  const [scale, setScale] = useState<'linear' | 'log' | undefined>();
  const kind = scale ?? (highest > 15 * bandTop ? 'log' : 'linear');
  const [asTable, setAsTable] = useState(false);
  const [hover, setHover] = useState<number>();
  const value = unit === 'bytes' || unit === 'decbytes' ? bytes : count;

  const parts = useMemo(() => {
    const times = points.map((p) => Date.parse(p.t));
    const end = (times[times.length - 1] ?? 0) + windowSeconds * 1000;
    const x = scaleUtc()
      .domain([times[0] ?? 0, Math.max(end, (times[0] ?? 0) + 1)])
      .range([pad.left, Math.max(pad.left + 10, width - pad.right)]);
    const y = (kind === 'log' ? scaleSymlog().constant(Math.max(1, bandTop / 4)) : scaleLinear())
      .domain([0, highest * 1.05])
      .range([height - pad.bottom, pad.top]);
    const at = (i: number) => x(times[i]);
    const band = area<ChartPoint>()
      .x((_, i) => at(i))
      .y0((p) => y(Math.max(0, p.lower)))
      .y1((p) => y(p.upper))
      .curve(curveMonotoneX)(points);
    const expected = line<ChartPoint>()
      .x((_, i) => at(i))
      .y((p) => y(p.expected))
      .curve(curveMonotoneX)(points);
    const observed = line<ChartPoint>()
      .x((_, i) => at(i))
      .y((p) => y(p.observed))
      .curve(curveStepAfter)(points);
    const ticks = kind === 'log' ? logTicks(highest, bandTop) : y.ticks(5);
    return { x, y, times, band, expected, observed, ticks };
  }, [points, width, height, kind, windowSeconds, highest, bandTop]);

  const observedColor = theme.visualization.getColorByName(theme.isDark ? 'orange' : 'dark-orange');
  const bandColor = theme.visualization.getColorByName('blue');
  const from = Math.max(pad.left, parts.x(Date.parse(marked.from)));
  const to = Math.min(width - pad.right, Math.max(from + 2, parts.x(Date.parse(marked.to))));
  const point = hover === undefined ? undefined : points[hover];
  const peak = points.reduce<ChartPoint | undefined>((a, b) => (!a || b.observed > a.observed ? b : a), undefined);
  const label = peak
    ? `${words(feature)}: at most ${value(peak.observed)} per ${span(windowSeconds)}, where ${value(peak.expected)} (${value(peak.lower)} to ${value(peak.upper)}) was expected`
    : words(feature);

  return (
    <div ref={ref}>
      <div className={styles.legend}>
        <span>
          <i style={{ background: observedColor, height: 3 }} />
          observed
        </span>
        <span>
          <i style={{ background: bandColor, opacity: 0.35, height: 10 }} />
          95 % of what its past predicts
        </span>
        <span>
          <i style={{ borderTop: `2px dashed ${bandColor}`, height: 0 }} />
          expected
        </span>
        <span>
          <i className={styles.mark} />
          the alert&#39;s window
        </span>
        <span style={{ flex: 1 }} />
        <RadioButtonGroup
          size="sm"
          aria-label="Scale"
          value={kind}
          onChange={setScale}
          options={[
            { label: 'Linear', value: 'linear' as const },
            { label: 'Log', value: 'log' as const },
          ]}
        />
        <Button size="sm" variant="secondary" fill="text" onClick={() => setAsTable(!asTable)}>
          {asTable ? 'Chart' : 'Numbers'}
        </Button>
      </div>
      {asTable ? (
        <div style={{ height, overflow: 'auto' }} tabIndex={0} role="region" aria-label="The chart's numbers">
          <table className={styles.table}>
            <thead>
              <tr>
                <th>Window from (UTC)</th>
                <th>Observed</th>
                <th>Expected</th>
                <th>Lower</th>
                <th>Upper</th>
              </tr>
            </thead>
            <tbody>
              {points.map((p) => (
                <tr key={p.t}>
                  <td>{instant(p.t)}</td>
                  <td>{value(p.observed)}</td>
                  <td>{value(p.expected)}</td>
                  <td>{value(p.lower)}</td>
                  <td>{value(p.upper)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div style={{ position: 'relative' }}>
          <svg
            width={width}
            height={height}
            role="img"
            aria-label={label}
            onMouseLeave={() => setHover(undefined)}
            onMouseMove={(e) => {
              const px = e.clientX - e.currentTarget.getBoundingClientRect().left;
              const t = parts.x.invert(px).getTime();
              let i = parts.times.findIndex((s) => s > t) - 1;
              i = i < -1 ? parts.times.length - 1 : i;
              setHover(i >= 0 && i < points.length ? i : undefined);
            }}
          >
            <clipPath id={clip}>
              <rect x={pad.left} y={0} width={Math.max(0, width - pad.left - pad.right)} height={height} />
            </clipPath>
            {parts.ticks.map((t) => (
              <g key={t}>
                <line
                  x1={pad.left}
                  x2={width - pad.right}
                  y1={parts.y(t)}
                  y2={parts.y(t)}
                  stroke={theme.colors.border.weak}
                />
                <text x={pad.left - 8} y={parts.y(t) + 4} textAnchor="end" className={styles.tick}>
                  {value(t)}
                </text>
              </g>
            ))}
            {parts.x.ticks(Math.max(2, Math.floor(width / 140))).map((t) => (
              <text key={t.getTime()} x={parts.x(t)} y={height - 8} textAnchor="middle" className={styles.tick}>
                {tick(t)}
              </text>
            ))}
            <g clipPath={`url(#${clip})`}>
              <rect
                x={from}
                width={Math.max(0, to - from)}
                y={pad.top}
                height={height - pad.top - pad.bottom}
                className={styles.window}
              />
              {banded && <path d={parts.band ?? ''} fill={bandColor} opacity={0.22} />}
              {banded && <path d={parts.expected ?? ''} fill="none" stroke={bandColor} strokeDasharray="4 4" />}
              <path d={parts.observed ?? ''} fill="none" stroke={observedColor} strokeWidth={2} />
              {hover !== undefined && (
                <line
                  x1={parts.x(parts.times[hover])}
                  x2={parts.x(parts.times[hover])}
                  y1={pad.top}
                  y2={height - pad.bottom}
                  stroke={theme.colors.border.strong}
                />
              )}
            </g>
          </svg>
          {point && hover !== undefined && (
            <div
              className={styles.tip}
              style={{ left: Math.min(width - 210, Math.max(pad.left, parts.x(parts.times[hover]) + 10)) }}
            >
              <div>{instant(point.t)} UTC</div>
              <strong>{value(point.observed)}</strong> observed
              <div>
                {value(point.expected)} expected ({value(point.lower)} – {value(point.upper)})
              </div>
            </div>
          )}
        </div>
      )}
    </div>
  );
}

function logTicks(top: number, band: number): number[] {
  const ticks = [0];
  for (let t = Math.pow(10, Math.floor(Math.log10(Math.max(1, band / 4)))); t <= top * 1.05; t *= 10) {
    ticks.push(t);
  }
  return ticks;
}

const getStyles = (theme: GrafanaTheme2) => ({
  legend: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(2),
    fontSize: theme.typography.bodySmall.fontSize,
    color: theme.colors.text.secondary,
    marginBottom: theme.spacing(0.5),
    '& span': { display: 'inline-flex', alignItems: 'center', gap: 6 },
    '& i': { width: 16, display: 'inline-block' },
  }),
  mark: css({
    height: 12,
    background: theme.colors.warning.transparent,
    borderLeft: `2px solid ${theme.colors.warning.border}`,
  }),
  window: css({ fill: theme.colors.warning.transparent }),
  tick: css({ fill: theme.colors.text.secondary, fontSize: 11 }),
  tip: css({
    position: 'absolute',
    top: 8,
    width: 200,
    pointerEvents: 'none',
    background: theme.colors.background.elevated ?? theme.colors.background.secondary,
    border: `1px solid ${theme.colors.border.medium}`,
    borderRadius: theme.shape.radius.default,
    boxShadow: theme.shadows.z2,
    padding: theme.spacing(1),
    fontSize: theme.typography.bodySmall.fontSize,
  }),
  table: css({
    width: '100%',
    fontVariantNumeric: 'tabular-nums',
    fontSize: theme.typography.bodySmall.fontSize,
    '& td, & th': { textAlign: 'right', padding: '2px 8px' },
    '& td:first-child, & th:first-child': { textAlign: 'left' },
  }),
});
