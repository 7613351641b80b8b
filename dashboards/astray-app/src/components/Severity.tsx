import React from 'react';
import { type GrafanaTheme2 } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import { type Severity } from '../severities';

export function severityColor(theme: GrafanaTheme2, severity: Severity): string {
  const name = { critical: 'red', high: 'orange', medium: 'yellow', low: 'blue' }[severity] ?? 'gray';
  return theme.visualization.getColorByName(theme.isDark ? name : `dark-${name}`);
}

// Each severity has a shape of its own, so that it is told without colour: the more corners stand out, the worse.
const shapes: Record<Severity, React.ReactNode> = {
  critical: <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" />,
  high: <path d="M8 1.5 15 14H1z" />,
  medium: <path d="M8 1.5 14.5 8 8 14.5 1.5 8z" />,
  low: <circle cx="8" cy="8" r="5" />,
};

interface Props {
  severity: Severity;
  label?: boolean;
  size?: number;
}

export function SeverityMark({ severity, label, size = 14 }: Props) {
  const theme = useTheme2();
  const color = severityColor(theme, severity);
  return (
    <span style={{ display: 'inline-flex', alignItems: 'center', gap: 6, whiteSpace: 'nowrap' }}>
      <svg
        width={size}
        height={size}
        viewBox="0 0 16 16"
        fill={color}
        role={label ? undefined : 'img'}
        aria-hidden={label ? true : undefined}
        aria-label={label ? undefined : `severity ${severity}`}
      >
        {shapes[severity] ?? shapes.low}
        {severity === 'critical' && (
          <path d="M7.2 4h1.6v5H7.2zM7.2 10.4h1.6V12H7.2z" fill={theme.colors.background.primary} />
        )}
      </svg>
      {label && severity}
    </span>
  );
}
