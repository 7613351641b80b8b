import React from 'react';
import { Link } from 'react-router-dom';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import { useStyles2 } from '@grafana/ui';
import { paths } from '../constants';
import { AgentText } from '../text/Text';

/** A way to the page of an agent, a credential or a source. Its address is the app's own; the id is only a parameter. */
export function EntityLink({ kind, id, max = 48 }: { kind: string; id: string; max?: number }) {
  const styles = useStyles2(getStyles);
  if (!id) {
    return <span className={styles.none}>none</span>;
  }
  if (!['agent', 'credential', 'source'].includes(kind)) {
    return <AgentText value={id} max={max} mono />;
  }
  return (
    <Link className={styles.link} to={paths.entity(kind, id)}>
      <AgentText value={id} max={max} mono />
    </Link>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  link: css({ color: theme.colors.text.link, '&:hover': { textDecoration: 'underline' } }),
  none: css({ color: theme.colors.text.secondary }),
});
