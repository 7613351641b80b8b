import React, { useId } from 'react';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import { Alert, LoadingPlaceholder, useStyles2 } from '@grafana/ui';
import { type Loaded } from '../useLoad';

interface Props {
  title: string;
  hint?: React.ReactNode;
  actions?: React.ReactNode;
  wide?: boolean;
}

/** A titled part of a page. */
export function Section({ title, hint, actions, children, wide }: React.PropsWithChildren<Props>) {
  const styles = useStyles2(getStyles);
  const id = useId();
  return (
    <section className={styles.section} aria-labelledby={id} style={wide ? { gridColumn: '1 / -1' } : undefined}>
      <header className={styles.header}>
        <h2 id={id} className={styles.title}>
          {title}
        </h2>
        {hint && <span className={styles.hint}>{hint}</span>}
        {actions && <span className={styles.actions}>{actions}</span>}
      </header>
      {children}
    </section>
  );
}

/** Shows what was loaded, or what went wrong with a way to try again. */
export function Shown<T>({ loaded, children }: { loaded: Loaded<T>; children: (data: T) => React.ReactNode }) {
  if (loaded.error && !loaded.data) {
    return (
      <Alert severity="error" title={loaded.error} buttonContent="Try again" onRemove={loaded.reload}>
        {''}
      </Alert>
    );
  }
  if (!loaded.data) {
    return <LoadingPlaceholder text="Loading" />;
  }
  return <>{children(loaded.data)}</>;
}

/** A figure with its name. */
export function Figure({
  name,
  value,
  hint,
  tone,
}: {
  name: string;
  value: React.ReactNode;
  hint?: React.ReactNode;
  tone?: 'warning' | 'error';
}) {
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.figure}>
      <div className={styles.figureName}>{name}</div>
      <div className={styles.figureValue} data-tone={tone}>
        {value}
      </div>
      {hint && <div className={styles.hint}>{hint}</div>}
    </div>
  );
}

/** A plain table whose columns the caller writes. */
export function PlainTable({ head, children, label }: React.PropsWithChildren<{ head: string[]; label: string }>) {
  const styles = useStyles2(getStyles);
  if (React.Children.count(children) === 0) {
    return <p className={styles.hint}>{label}: none in this time.</p>;
  }
  return (
    <div className={styles.scroll} tabIndex={0} role="region" aria-label={label}>
      <table className={styles.table}>
        <thead>
          <tr>
            {head.map((h) => (
              <th key={h} scope="col">
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  section: css({
    background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
    padding: theme.spacing(2),
    minWidth: 0,
  }),
  header: css({
    display: 'flex',
    alignItems: 'baseline',
    flexWrap: 'wrap',
    gap: theme.spacing(1.5),
    marginBottom: theme.spacing(1.5),
  }),
  title: css({ fontSize: theme.typography.h5.fontSize, fontWeight: theme.typography.fontWeightMedium, margin: 0 }),
  hint: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
  actions: css({ marginLeft: 'auto', display: 'flex', gap: theme.spacing(1) }),
  figure: css({ minWidth: 120 }),
  figureName: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
  figureValue: css({
    fontSize: 26,
    lineHeight: 1.25,
    fontVariantNumeric: 'tabular-nums',
    '&[data-tone=warning]': { color: theme.colors.warning.text },
    '&[data-tone=error]': { color: theme.colors.error.text },
  }),
  scroll: css({ overflow: 'auto', maxHeight: 420 }),
  table: css({
    width: '100%',
    fontSize: theme.typography.bodySmall.fontSize,
    fontVariantNumeric: 'tabular-nums',
    '& th': {
      position: 'sticky',
      top: 0,
      zIndex: 1,
      background: theme.colors.background.primary,
      color: theme.colors.text.secondary,
      fontWeight: theme.typography.fontWeightRegular,
      textAlign: 'left',
      whiteSpace: 'nowrap',
    },
    '& th, & td': { padding: theme.spacing(0.5, 1), verticalAlign: 'top' },
    '& tbody tr': { borderTop: `1px solid ${theme.colors.border.weak}` },
    '& td.n, & th.n': { textAlign: 'right' },
    '& td.w': { whiteSpace: 'nowrap' },
  }),
});
