import React, { useState } from 'react';
import { Link, useSearchParams } from 'react-router-dom';
import { css } from '@emotion/css';
import { area, curveMonotoneX } from 'd3-shape';
import { scaleLinear, scaleUtc } from 'd3-scale';
import { type GrafanaTheme2 } from '@grafana/data';
import { Alert, Combobox, IconButton, useStyles2, useTheme2 } from '@grafana/ui';
import { api, type FleetNow } from '../api';
import { Page } from '../components/Page';
import { Movers } from '../components/Movers';
import { Figure, PlainTable, Section, Shown } from '../components/Section';
import { severityColor, SeverityMark } from '../components/Severity';
import { useWidth } from '../components/useWidth';
import { paths } from '../constants';
import { count, instant, span, tick, words } from '../format';
import { safe } from '../text/escape';
import { AgentText } from '../text/Text';
import { SEVERITIES } from '../severities';
import { useLoad } from '../useLoad';
import { useNow } from '../useNow';
import { HOUR, type Lately, lately } from './fleet/lately';
import { hoursOf, RANGES } from './triage/queue';

/**
 * What is happening now. A link can name another end (`to`, in milliseconds); without any wish, and without any event in
 * the last day, the day up to the newest event is shown.
 */
export default function Fleet() {
  const styles = useStyles2(getStyles);
  const [search, setSearch] = useSearchParams();
  const value = search.get('range') ?? '24h';
  const to = Number(search.get('to')) || 0;
  const wished = search.has('range') || to > 0;
  const minute = useNow(60000);
  const [opened] = useState(() => Date.now());
  const end = to || Math.max(opened, minute);
  const hours = hoursOf(value);
  const fleet = useLoad(
    (): Promise<Lately> =>
      wished ? api.fleet({ from: end - hours * HOUR, to: end }).then((f) => ({ fleet: f })) : lately(hours, end),
    [wished, hours, end]
  );
  return (
    <Page>
      <div className={styles.page}>
        <header className={styles.header}>
          <h1 className={styles.h1}>Fleet</h1>
          <span className={styles.right}>
            {to > 0 && <span>up to {instant(new Date(to).toISOString())} UTC</span>}
            <span hidden id="time-label">
              Time
            </span>
            <Combobox
              width={20}
              aria-labelledby="time-label"
              options={RANGES}
              value={value}
              onChange={(o) => setSearch({ range: o.value })}
            />
            <IconButton name="sync" tooltip="Load again" onClick={fleet.reload} />
          </span>
        </header>
        <Shown loaded={fleet}>
          {({ fleet: f, upTo }) => (
            <>
              {upTo && (
                <Alert severity="warning" title="No event in the last 24 hours">
                  Shown is the day up to the newest event, {instant(upTo)} UTC.{' '}
                  <Link to={{ search: '?range=30d' }} className={styles.inText}>
                    Look at the last 30 days
                  </Link>
                </Alert>
              )}
              <Now fleet={f} />
            </>
          )}
        </Shown>
      </div>
    </Page>
  );
}

function Now({ fleet: f }: { fleet: FleetNow }) {
  const styles = useStyles2(getStyles);
  const theme = useTheme2();
  const most = Math.max(1, ...f.by_detector.map((d) => d.low + d.medium + d.high + d.critical));
  const { pipeline: p, budget: b } = f;
  const stale = p.freshness_seconds > 300;
  return (
    <>
      <div className={styles.figures}>
        <Figure name="Events per second" value={count(f.events_per_second)} />
        <Figure name="Active agents" value={count(f.active_agents)} hint={`${count(f.new_agents)} new`} />
        <Figure
          name="Open alerts"
          value={
            <Link to={paths.triage({ range: '1y' })} className={styles.link}>
              {count(f.open_alerts)}
            </Link>
          }
          tone={f.open_alerts ? 'warning' : undefined}
        />
        <Figure
          name="Newest event"
          value={p.freshness_seconds < 0 ? 'never' : `${span(p.freshness_seconds)} ago`}
          tone={stale ? 'error' : undefined}
          hint={stale ? 'Nothing arrives: see the pipeline health dashboard' : undefined}
        />
        <Figure
          name="Pipeline lag"
          value={span(p.lag_seconds)}
          tone={p.lag_seconds > 60 ? 'warning' : undefined}
          hint="from event to table"
        />
        <Figure
          name="Dead letters"
          value={count(p.dead_letters)}
          tone={p.dead_letters ? 'warning' : undefined}
          hint={`${count(p.late)} events came late`}
        />
      </div>
      <div className={styles.grid}>
        <Section title="Events" wide>
          {f.active_agents > 0 ? (
            <Rate rate={f.rate} />
          ) : (
            <p className={styles.quiet}>
              No agent was active in this time.{' '}
              {f.newest ? (
                <>
                  The newest event is of {instant(f.newest)} UTC:{' '}
                  <Link
                    to={{ search: `?range=24h&to=${Math.ceil(Date.parse(f.newest) / 60000) * 60000}` }}
                    className={styles.inText}
                  >
                    look at the day up to it
                  </Link>
                  .
                </>
              ) : (
                'No event has ever come in: the configuration can test the connection, and the pipeline health dashboard tells where events stop.'
              )}
            </p>
          )}
        </Section>
        <Section title="Alerts by detector">
          {f.by_detector.length === 0 && <p className={styles.quiet}>None in this time.</p>}
          <ul className={styles.bars}>
            {f.by_detector.map((d) => (
              <li key={d.detector}>
                <Link
                  className={styles.link}
                  to={paths.triage({ detector: encodeURIComponent(d.detector), state: '', range: '1y' })}
                >
                  {safe(words(d.detector), 40)}
                </Link>
                <span className={styles.stackBar}>
                  {SEVERITIES.map(
                    (s) =>
                      d[s] > 0 && (
                        <i
                          key={s}
                          title={`${d[s]} ${s}`}
                          style={{ width: `${(100 * d[s]) / most}%`, background: severityColor(theme, s) }}
                        />
                      )
                  )}
                </span>
                <span className={styles.n}>{count(d.low + d.medium + d.high + d.critical)}</span>
              </li>
            ))}
          </ul>
          <div className={styles.legend}>
            {SEVERITIES.map((s) => (
              <SeverityMark key={s} severity={s} label size={11} />
            ))}
          </div>
        </Section>
        <Section title="Alert budget" hint="Alerts per 1,000 agent-days">
          <div className={styles.figures}>
            <Figure name="Used" value={count(b.used)} tone={b.set > 0 && b.used > b.set ? 'warning' : undefined} />
            <Figure name="Set" value={b.set > 0 ? count(b.set) : '–'} hint="false alerts allowed" />
            <Figure name="Agent-days" value={count(b.agent_days)} />
          </div>
          {b.set > 0 && (
            <svg width="100%" height={16} role="img" aria-label={`${count(b.used)} of ${count(b.set)} used`}>
              <rect width="100%" height={8} y={4} rx={4} fill={theme.colors.background.secondary} />
              <rect
                width={`${Math.min(100, (100 * b.used) / Math.max(b.set, b.used))}%`}
                height={8}
                y={4}
                rx={4}
                fill={b.used > b.set ? theme.colors.warning.main : theme.colors.success.main}
              />
              <rect
                x={`${Math.min(99.5, (100 * b.set) / Math.max(b.set, b.used))}%`}
                width={2}
                height={16}
                fill={theme.colors.text.primary}
              />
            </svg>
          )}
          <p className={styles.quiet}>Used are the alerts that nobody has called true.</p>
        </Section>
        <Section title="Top movers" hint="Against the time before of the same length">
          <Movers movers={f.movers} />
        </Section>
        <Section title="Campaigns" hint="Alerts that belong together">
          {f.campaigns.length === 0 ? (
            <p className={styles.quiet}>None in this time.</p>
          ) : (
            <PlainTable head={['', 'Campaign', 'Alerts', 'Agents', 'First seen', 'Last seen (UTC)']} label="Campaigns">
              {f.campaigns.map((c) => (
                <tr key={c.name + c.first_seen}>
                  <td>
                    <SeverityMark severity={c.severity} />
                  </td>
                  <td>
                    {c.alerts[0] ? (
                      <Link className={styles.link} to={paths.alert(c.alerts[0])}>
                        <AgentText value={c.name} max={90} />
                      </Link>
                    ) : (
                      <AgentText value={c.name} max={90} />
                    )}
                  </td>
                  <td>{count(c.count)}</td>
                  <td>{count(c.agents)}</td>
                  <td className="w">{instant(c.first_seen)}</td>
                  <td className="w">{instant(c.last_seen)}</td>
                </tr>
              ))}
            </PlainTable>
          )}
        </Section>
      </div>
    </>
  );
}

function Rate({ rate }: { rate: FleetNow['rate'] }) {
  const theme = useTheme2();
  const styles = useStyles2(getStyles);
  const [ref, width] = useWidth<HTMLDivElement>();
  const height = 170;
  const points = rate.map((p) => ({ t: Date.parse(p.t), n: p.events }));
  const top = Math.max(1, ...points.map((p) => p.n));
  const x = scaleUtc()
    .domain([points[0].t, points[points.length - 1].t])
    .range([50, width - 8]);
  const y = scaleLinear()
    .domain([0, top * 1.05])
    .range([height - 24, 8]);
  const path = area<(typeof points)[number]>()
    .x((p) => x(p.t))
    .y0(y(0))
    .y1((p) => y(p.n))
    .curve(curveMonotoneX)(points);
  return (
    <div ref={ref}>
      <svg width={width} height={height} role="img" aria-label={`Events over time, at most ${count(top)} in one step`}>
        {y.ticks(4).map((t) => (
          <g key={t}>
            <line x1={50} x2={width - 8} y1={y(t)} y2={y(t)} stroke={theme.colors.border.weak} />
            <text x={42} y={y(t) + 4} textAnchor="end" className={styles.tick}>
              {count(t)}
            </text>
          </g>
        ))}
        {x.ticks(Math.max(2, Math.floor(width / 140))).map((t) => (
          <text key={t.getTime()} x={x(t)} y={height - 6} textAnchor="middle" className={styles.tick}>
            {tick(t)}
          </text>
        ))}
        <path
          d={path ?? ''}
          fill={theme.visualization.getColorByName('blue')}
          opacity={0.35}
          stroke={theme.visualization.getColorByName('blue')}
          strokeWidth={1.5}
        />
      </svg>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(2) }),
  header: css({ display: 'flex', alignItems: 'center', justifyContent: 'space-between' }),
  right: css({ display: 'inline-flex', alignItems: 'center', gap: theme.spacing(1) }),
  h1: css({ fontSize: theme.typography.h3.fontSize, margin: 0 }),
  figures: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(5) }),
  grid: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(2, minmax(0, 1fr))',
    '@media (max-width: 1250px)': { gridTemplateColumns: 'minmax(0, 1fr)' },
    gap: theme.spacing(1.5),
  }),
  quiet: css({ color: theme.colors.text.secondary, margin: 0 }),
  inText: css({ color: theme.colors.text.link, textDecoration: 'underline' }),
  link: css({ color: 'inherit', '&:hover': { textDecoration: 'underline' } }),
  tick: css({ fill: theme.colors.text.secondary, fontSize: 11 }),
  bars: css({
    listStyle: 'none',
    fontSize: theme.typography.bodySmall.fontSize,
    '& li': {
      display: 'grid',
      gridTemplateColumns: '150px 1fr 50px',
      gap: theme.spacing(1),
      alignItems: 'center',
      padding: '3px 0',
    },
  }),
  stackBar: css({ display: 'flex', gap: 1, '& i': { height: 10, minWidth: 2, borderRadius: 1 } }),
  legend: css({
    display: 'flex',
    gap: theme.spacing(2),
    marginTop: theme.spacing(1),
    fontSize: 11,
    color: theme.colors.text.secondary,
  }),
  n: css({ textAlign: 'right', fontVariantNumeric: 'tabular-nums' }),
});
