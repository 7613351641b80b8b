import React, { useMemo } from 'react';
import { css } from '@emotion/css';
import { useNavigate } from 'react-router-dom';
import { type GrafanaTheme2 } from '@grafana/data';
import { useStyles2, useTheme2 } from '@grafana/ui';
import { type Graph, type GraphNode } from '../api';
import { paths } from '../constants';
import { count } from '../format';
import { safe } from '../text/escape';
import { useWidth } from './useWidth';

const COLUMNS = [['source'], ['credential'], ['agent', 'template'], ['service', 'destination']];
const HEADS = ['Sources', 'Credentials', 'Agents', 'Services and destinations'];
const ROW = 34;
const MOST = 12;

export const entityColor = (theme: GrafanaTheme2, kind: string) =>
  theme.visualization.getColorByName(
    { agent: 'orange', credential: 'purple', source: 'blue', service: 'green', destination: 'super-light-green' }[
      kind
    ] ?? 'text'
  );

/**
 * Who is involved, from left to right in the way an access goes: from a source, with a credential, by an agent, to a
 * service or a destination. Layers stay still when they are looked at again, which a force layout does not.
 */
export function EntityGraph({ graph }: { graph: Graph }) {
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [ref, width] = useWidth<HTMLDivElement>();
  const { placed, more, height } = useMemo(() => place(graph, width), [graph, width]);
  const most = Math.max(1, ...graph.edges.map((e) => e.events));
  const open = (n: GraphNode) => navigate(paths.entity(n.kind, n.name));

  return (
    <div ref={ref}>
      <svg width={width} height={height} role="group" aria-label="The entities involved and what they used">
        {HEADS.map((head, i) => (
          <text key={head} x={columnX(i, width)} y={14} className={styles.head}>
            {head}
          </text>
        ))}
        {graph.edges.map((edge, i) => {
          const a = placed.get(edge.source);
          const b = placed.get(edge.target);
          if (!a || !b || a.column === b.column) {
            return null;
          }
          const [l, r] = a.column < b.column ? [a, b] : [b, a];
          const x1 = l.x + l.width;
          const mid = (x1 + r.x) / 2;
          return (
            <path
              key={i}
              d={`M${x1} ${l.y}C${mid} ${l.y} ${mid} ${r.y} ${r.x} ${r.y}`}
              fill="none"
              stroke={theme.colors.text.secondary}
              opacity={0.4}
              strokeWidth={1 + 3 * Math.sqrt(edge.events / most)}
            >
              <title>{`${count(edge.events)} events`}</title>
            </path>
          );
        })}
        {[...placed.values()].map(({ node, x, y, width: w }) => {
          const name = safe(node.name, Math.max(8, Math.floor((w - 34) / 7)));
          const linked = ['agent', 'credential', 'source'].includes(node.kind);
          return (
            <g
              key={node.id}
              transform={`translate(${x} ${y - 13})`}
              className={linked ? styles.linked : undefined}
              role={linked ? 'link' : undefined}
              tabIndex={linked ? 0 : undefined}
              aria-label={`${node.kind} ${safe(node.name, 80)}, ${count(node.events)} events`}
              onClick={linked ? () => open(node) : undefined}
              onKeyDown={linked ? (e) => e.key === 'Enter' && open(node) : undefined}
            >
              <title>{`${node.kind} ${safe(node.name)}: ${count(node.events)} events, ${node.alerts} alerts`}</title>
              <rect
                width={w}
                height={26}
                rx={4}
                fill={theme.colors.background.secondary}
                stroke={node.main ? theme.colors.warning.border : theme.colors.border.medium}
                strokeWidth={node.main ? 2 : 1}
              />
              <rect width={4} height={26} rx={2} fill={entityColor(theme, node.kind)} />
              <text x={12} y={17} className={styles.name}>
                {name}
              </text>
              {node.alerts > 0 && (
                <text x={w - 8} y={17} textAnchor="end" className={styles.alerts}>{`${node.alerts} ▲`}</text>
              )}
            </g>
          );
        })}
        {more.map((n, i) =>
          n > 0 ? (
            <text key={i} x={columnX(i, width)} y={height - 6} className={styles.head}>{`and ${n} more`}</text>
          ) : null
        )}
      </svg>
    </div>
  );
}

const columnWidth = (width: number) => Math.min(300, Math.max(120, width / COLUMNS.length - 56));
const columnX = (column: number, width: number) => (column * (width - columnWidth(width))) / (COLUMNS.length - 1);

function place(graph: Graph, width: number) {
  const placed = new Map<string, { node: GraphNode; column: number; x: number; y: number; width: number }>();
  const more: number[] = [];
  let rows = 1;
  const columns = COLUMNS.map((kinds) =>
    graph.nodes
      .filter((n) => kinds.includes(n.kind))
      .sort((a, b) => Number(b.main) - Number(a.main) || b.events - a.events)
  );
  columns.forEach((nodes) => {
    more.push(Math.max(0, nodes.length - MOST));
    rows = Math.max(rows, Math.min(MOST, nodes.length));
  });
  columns.forEach((nodes, column) => {
    const shown = nodes.slice(0, MOST);
    const gap = ((rows - shown.length) * ROW) / 2;
    shown.forEach((node, i) =>
      placed.set(node.id, {
        node,
        column,
        x: columnX(column, width),
        y: 40 + gap + i * ROW,
        width: columnWidth(width),
      })
    );
  });
  return { placed, more, height: 40 + rows * ROW + 8 };
}

const getStyles = (theme: GrafanaTheme2) => ({
  head: css({ fill: theme.colors.text.secondary, fontSize: 12 }),
  name: css({ fill: theme.colors.text.primary, fontSize: 12 }),
  alerts: css({ fill: theme.colors.warning.text, fontSize: 11 }),
  linked: css({
    cursor: 'pointer',
    '&:hover rect:first-of-type, &:focus-visible rect:first-of-type': { stroke: theme.colors.primary.border },
  }),
});
