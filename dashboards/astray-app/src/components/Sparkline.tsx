import React, { memo } from 'react';
import { useTheme2 } from '@grafana/ui';
import { type Sparkline as Data } from '../api';
import { count, span } from '../format';

interface Props {
  data?: Data;
  width?: number;
  height?: number;
}

/** What was observed, window by window, over the band that the baseline predicts. A log scale keeps the band visible. */
export const Sparkline = memo(function Sparkline({ data, width = 132, height = 26 }: Props) {
  const theme = useTheme2();
  if (!data || data.values.length === 0) {
    return <svg width={width} height={height} aria-hidden />;
  }
  const { values, lower, upper, expected } = data;
  const half = Math.max(1e-9, upper / 2);
  const size = (v: number) => Math.log1p(Math.max(0, v) / half);
  const top = size(Math.max(upper, ...values));
  const y = (v: number) => height - 3 - (size(v) / top) * (height - 6);
  const x = (i: number) => (values.length === 1 ? width / 2 : 3 + (i / (values.length - 1)) * (width - 6));
  const line = values.map((v, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join('');
  const bandTop = y(upper);
  const outside = theme.visualization.getColorByName(theme.isDark ? 'orange' : 'dark-orange');
  const label = `${values.length} windows of ${span(data.window_seconds)}; expected ${count(expected)} (${count(lower)} to ${count(upper)}), at most ${count(Math.max(...values))}`;
  return (
    <svg width={width} height={height} role="img" aria-label={label}>
      <title>{label}</title>
      <rect
        x={0}
        width={width}
        y={bandTop}
        height={Math.max(2, y(lower) - bandTop)}
        fill={theme.colors.text.secondary}
        opacity={0.22}
      />
      <path d={line} fill="none" stroke={theme.colors.text.secondary} strokeWidth={1.25} />
      {values.map((v, i) =>
        v > upper || v < lower ? <circle key={i} cx={x(i)} cy={y(v)} r={2} fill={outside} /> : null
      )}
    </svg>
  );
});
