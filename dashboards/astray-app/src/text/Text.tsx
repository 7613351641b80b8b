import React from 'react';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import { useStyles2 } from '@grafana/ui';
import { DEFAULT_MAX, escapeText } from './escape';

interface Props {
  value: string;
  /** Most code points that are shown. */
  max?: number;
  /** Shows line breaks and tabs as such; for text that stands in a block of its own. */
  lines?: boolean;
  mono?: boolean;
}

/**
 * The one way in which text that an agent wrote reaches the page: as a text node, isolated from the direction of what
 * is around it, with what cannot be seen written as escapes. It makes no links and no markup.
 */
export function AgentText({ value, max = DEFAULT_MAX, lines, mono }: Props) {
  const styles = useStyles2(getStyles);
  const { parts, left } = escapeText(value, max, lines);
  return (
    <bdi className={mono ? styles.mono : undefined}>
      {parts.map((part, i) =>
        part.escaped ? (
          <span key={i} className={styles.escape} title="A character that cannot be seen, shown as its escape">
            {part.text}
          </span>
        ) : (
          <React.Fragment key={i}>{part.text}</React.Fragment>
        )
      )}
      {left > 0 && (
        <span className={styles.cut} title={`${left} more characters`}>
          …
        </span>
      )}
    </bdi>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  escape: css({
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: '0.85em',
    color: theme.colors.warning.text,
    background: theme.colors.warning.transparent,
    borderRadius: theme.shape.radius.default,
    padding: '0 2px',
  }),
  cut: css({ color: theme.colors.text.secondary }),
  mono: css({ fontFamily: theme.typography.fontFamilyMonospace, fontSize: '0.92em' }),
});
