import React, { useMemo, useState } from 'react';
import { Link, useNavigate, useSearchParams } from 'react-router-dom';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import { Button, Combobox, Field, Input, RadioButtonGroup, useStyles2 } from '@grafana/ui';
import { api, type Entity as Data, type EntityKind } from '../api';
import { Page } from '../components/Page';
import { EntityGraph } from '../components/EntityGraph';
import { EntityLink } from '../components/EntityLink';
import { HeatMap } from '../components/HeatMap';
import { Movers } from '../components/Movers';
import { Figure, PlainTable, Section, Shown } from '../components/Section';
import { SeverityMark } from '../components/Severity';
import { paths } from '../constants';
import { bytes, count, instant, span, words } from '../format';
import { safe } from '../text/escape';
import { AgentText } from '../text/Text';
import { useLoad } from '../useLoad';
import { StateMark } from './Triage';
import { lately } from './fleet/lately';
import { hoursOf, RANGES } from './triage/queue';

const KINDS: Array<{ value: EntityKind; label: string }> = [
  { value: 'agent', label: 'Agent' },
  { value: 'credential', label: 'Credential' },
  { value: 'source', label: 'Source' },
];

/** Who an agent (or a credential, or a source) is, and what it usually does. */
export default function Entity() {
  const [search, setSearch] = useSearchParams();
  const kind = search.get('kind') ?? 'agent';
  const id = search.get('id') ?? '';
  const days = search.get('range') ?? '30d';
  const [opened] = useState(() => Date.now());
  const range = useMemo(() => {
    const hours = hoursOf(days);
    return { from: opened - hours * 3600_000, to: opened + 24 * 3600_000 };
  }, [days, opened]);
  return (
    <Page>
      {id === '' ? (
        <Find />
      ) : (
        <Loaded
          key={`${kind} ${id}`}
          kind={kind}
          id={id}
          range={range}
          picker={
            <Combobox
              width={20}
              aria-labelledby="time-label"
              options={RANGES}
              value={days}
              onChange={(o) => setSearch({ kind, id, range: o.value })}
            />
          }
        />
      )}
    </Page>
  );
}

function Find() {
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const [kind, setKind] = useState<EntityKind>('agent');
  const [id, setId] = useState('');
  const now = useState(() => Date.now())[0];
  const fleet = useLoad(() => lately(7 * 24, now), [now]);
  return (
    <div className={styles.page}>
      <h1 className={styles.h1}>Agents, credentials, sources</h1>
      <form
        className={styles.find}
        onSubmit={(e) => {
          e.preventDefault();
          id.trim() && navigate(paths.entity(kind, id.trim()));
        }}
      >
        <Field label="Kind">
          <RadioButtonGroup options={KINDS} value={kind} onChange={setKind} />
        </Field>
        <Field label="Id" htmlFor="entity-id">
          <Input
            id="entity-id"
            width={50}
            value={id}
            onChange={(e) => setId(e.currentTarget.value)}
            placeholder="As it stands in the events"
          />
        </Field>
        <Button type="submit" disabled={id.trim() === ''}>
          Open
        </Button>
      </form>
      <Section title="Whose activity changed most" hint="Against the time before of the same length">
        <Shown loaded={fleet}>
          {({ fleet: { movers }, upTo }) => (
            <>
              {upTo && <p className={styles.quiet}>In the week up to the newest event, {instant(upTo)} UTC.</p>}
              <Movers movers={movers} />
            </>
          )}
        </Shown>
      </Section>
    </div>
  );
}

function Loaded({
  kind,
  id,
  range,
  picker,
}: {
  kind: string;
  id: string;
  range: { from: number; to: number };
  picker: React.ReactNode;
}) {
  const styles = useStyles2(getStyles);
  const entity = useLoad(() => api.entity(kind, id, range), [kind, id, range.from, range.to]);
  const graph = useLoad(() => api.graph(kind, id, range), [kind, id, range.from, range.to]);
  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <div>
          <div className={styles.quiet}>{safe(kind, 20)}</div>
          <h1 className={styles.h1}>
            <AgentText value={id} max={120} mono />
          </h1>
        </div>
        <span hidden id="time-label">
          Time
        </span>
        {picker}
      </header>
      <Shown loaded={entity}>{(e) => <Who entity={e} />}</Shown>
      <Section title="Neighbours" hint="From where, with what, to what">
        <Shown loaded={graph}>
          {(g) =>
            g.nodes.length ? <EntityGraph graph={g} /> : <p className={styles.quiet}>No events in this time.</p>
          }
        </Shown>
      </Section>
    </div>
  );
}

function Who({ entity: e }: { entity: Data }) {
  const styles = useStyles2(getStyles);
  const most = Math.max(1, ...e.services.map((s) => s.events));
  const open = e.alerts.filter((a) => a.state !== 'closed').length;
  return (
    <>
      <div className={styles.figures}>
        <Figure name="Events" value={count(e.events)} />
        <Figure
          name="Alerts"
          value={count(e.alerts.length)}
          hint={`${open} not closed`}
          tone={open ? 'warning' : undefined}
        />
        <Figure
          name={e.owner_ids.length === 1 ? 'Owner' : 'Owners'}
          value={
            <span className={styles.names}>
              {e.owner_ids.length ? e.owner_ids.slice(0, 3).map((o) => <AgentText key={o} value={o} max={30} />) : '–'}
            </span>
          }
        />
        <Figure
          name={e.cohorts.length === 1 ? 'Cohort' : 'Cohorts'}
          value={
            <span className={styles.names}>
              {e.cohorts.length ? e.cohorts.slice(0, 3).map((o) => <AgentText key={o} value={o} max={30} />) : '–'}
            </span>
          }
        />
        <Figure name="First seen" value={<span className={styles.names}>{instant(e.first_seen)}</span>} hint="UTC" />
        <Figure name="Last seen" value={<span className={styles.names}>{instant(e.last_seen)}</span>} hint="UTC" />
      </div>
      <div className={styles.grid}>
        <Section title="Habits" hint="Events by hour of the week, UTC">
          <HeatMap heat={e.heat} />
        </Section>
        <Section title="Services">
          {e.services.length === 0 && <p className={styles.quiet}>None in this time.</p>}
          <ul className={styles.bars}>
            {e.services.slice(0, 12).map((s) => (
              <li key={`${s.service} ${s.access}`}>
                <span>
                  <AgentText value={s.service} max={40} /> <span className={styles.quiet}>{safe(s.access, 12)}</span>
                </span>
                <span className={styles.bar}>
                  <i style={{ width: `${(100 * s.events) / most}%` }} />
                </span>
                <span className={styles.n}>{count(s.events)}</span>
              </li>
            ))}
          </ul>
        </Section>
        <Section title="Baselines" hint="What its own past predicts for a window, and the newest window">
          {e.baselines.length === 0 ? (
            <p className={styles.quiet}>None learned yet: a new agent starts from its cohort’s.</p>
          ) : (
            <PlainTable head={['Feature', 'Window', 'Expected', '95 % band', 'Now']} label="Baselines">
              {e.baselines.map((b) => {
                const value = b.unit === 'bytes' || b.unit === 'decbytes' ? bytes : count;
                return (
                  <tr key={`${b.feature} ${b.window_seconds}`}>
                    <td>{words(b.feature)}</td>
                    <td className="w">{span(b.window_seconds)}</td>
                    <td>{value(b.expected)}</td>
                    <td className={styles.bandCell}>
                      <Band lower={b.lower} upper={b.upper} expected={b.expected} current={b.current} />{' '}
                      <span className={styles.quiet}>
                        {value(b.lower)} – {value(b.upper)}
                      </span>
                    </td>
                    <td className={b.current > b.upper ? styles.bad : undefined}>{value(b.current)}</td>
                  </tr>
                );
              })}
            </PlainTable>
          )}
        </Section>
        <div className={styles.stack}>
          <Section title="Alerts">
            {e.alerts.length === 0 ? (
              <p className={styles.quiet}>None.</p>
            ) : (
              <PlainTable head={['', 'Alert', 'Detector', 'Last seen (UTC)', 'State']} label="Alerts">
                {e.alerts.map((a) => (
                  <tr key={a.id}>
                    <td>
                      <SeverityMark severity={a.severity} />
                    </td>
                    <td>
                      <Link className={styles.link} to={paths.alert(a.id)}>
                        <AgentText value={a.title} max={120} />
                      </Link>
                    </td>
                    <td className="w">{words(a.detector)}</td>
                    <td className="w">{instant(a.last_seen)}</td>
                    <td>
                      <StateMark row={a} />
                    </td>
                  </tr>
                ))}
              </PlainTable>
            )}
          </Section>
          <Section title="Peers" hint="With whom it shares credentials, sources or conversations">
            {e.peers.length === 0 ? (
              <p className={styles.quiet}>None in this time.</p>
            ) : (
              <PlainTable head={['Peer', 'Kind', 'Events']} label="Peers">
                {e.peers.map((p) => (
                  <tr key={`${p.kind} ${p.id}`}>
                    <td>
                      <EntityLink kind={p.kind} id={p.id} />
                    </td>
                    <td>{safe(p.kind, 20)}</td>
                    <td>{count(p.events)}</td>
                  </tr>
                ))}
              </PlainTable>
            )}
          </Section>
        </div>
        <Section title="Credentials and networks">
          <PlainTable head={['Credential', 'Events', 'Last seen (UTC)']} label="Credentials">
            {e.credentials.map((c) => (
              <tr key={c.id}>
                <td>
                  <EntityLink kind="credential" id={c.id} />
                </td>
                <td>{count(c.events)}</td>
                <td className="w">{instant(c.last_seen)}</td>
              </tr>
            ))}
          </PlainTable>
          <PlainTable head={['Source', 'AS', 'Events', 'Last seen (UTC)']} label="Networks">
            {e.networks.map((c) => (
              <tr key={`${c.source_ip} ${c.asn}`}>
                <td>
                  <EntityLink kind="source" id={c.source_ip} />
                </td>
                <td>{c.asn || '–'}</td>
                <td>{count(c.events)}</td>
                <td className="w">{instant(c.last_seen)}</td>
              </tr>
            ))}
          </PlainTable>
        </Section>
        <Section title="Versions and clients">
          <PlainTable head={['Version', 'Events', 'From', 'To (UTC)']} label="Versions">
            {e.versions.map((v) => (
              <tr key={v.version}>
                <td>
                  <AgentText value={v.version} max={40} mono />
                </td>
                <td>{count(v.events)}</td>
                <td className="w">{instant(v.first_seen)}</td>
                <td className="w">{instant(v.last_seen)}</td>
              </tr>
            ))}
          </PlainTable>
          <PlainTable head={['Client', 'Events']} label="Clients">
            {e.user_agents.map((u) => (
              <tr key={u.value}>
                <td>
                  <AgentText value={u.value} max={90} />
                </td>
                <td>{count(u.events)}</td>
              </tr>
            ))}
          </PlainTable>
        </Section>
      </div>
    </>
  );
}

/** The band as a bar, what was expected as a tick, the newest window as a dot. */
function Band({
  lower,
  upper,
  expected,
  current,
}: {
  lower: number;
  upper: number;
  expected: number;
  current: number;
}) {
  const styles = useStyles2(getStyles);
  const top = Math.sqrt(Math.max(1e-9, upper * 1.3, current));
  const x = (v: number) => 2 + 96 * (Math.sqrt(Math.max(0, v)) / top);
  return (
    <svg width={100} height={14} aria-hidden className={styles.band}>
      <line x1={2} x2={98} y1={7} y2={7} className="axis" />
      <rect x={x(lower)} width={Math.max(2, x(upper) - x(lower))} y={3} height={8} rx={2} className="range" />
      <line x1={x(expected)} x2={x(expected)} y1={2} y2={12} className="tick" />
      <circle cx={x(current)} cy={7} r={3} className={current > upper ? 'out' : 'in'} />
    </svg>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5) }),
  header: css({ display: 'flex', alignItems: 'end', justifyContent: 'space-between', gap: theme.spacing(2) }),
  h1: css({ fontSize: theme.typography.h3.fontSize, margin: 0, overflowWrap: 'anywhere' }),
  find: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'end',
    gap: theme.spacing(2),
    '& > button': { marginBottom: theme.spacing(2) },
  }),
  figures: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(5) }),
  names: css({
    display: 'flex',
    flexDirection: 'column',
    fontSize: theme.typography.body.fontSize,
    lineHeight: '32px',
  }),
  grid: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(2, minmax(0, 1fr))',
    '@media (max-width: 1250px)': { gridTemplateColumns: 'minmax(0, 1fr)' },
    alignItems: 'start',
    gap: theme.spacing(1.5),
  }),
  stack: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5), minWidth: 0 }),
  quiet: css({ color: theme.colors.text.secondary }),
  bad: css({ color: theme.colors.warning.text }),
  link: css({ color: theme.colors.text.primary, '&:hover': { textDecoration: 'underline' } }),
  bars: css({
    listStyle: 'none',
    fontSize: theme.typography.bodySmall.fontSize,
    '& li': {
      display: 'grid',
      gridTemplateColumns: 'minmax(140px, 1fr) 2fr 60px',
      gap: theme.spacing(1),
      alignItems: 'center',
      padding: '2px 0',
    },
  }),
  bar: css({
    '& i': {
      display: 'block',
      height: 8,
      borderRadius: 2,
      minWidth: 2,
      background: theme.visualization.getColorByName('blue'),
    },
  }),
  n: css({ textAlign: 'right', fontVariantNumeric: 'tabular-nums' }),
  bandCell: css({ whiteSpace: 'nowrap' }),
  band: css({
    verticalAlign: 'middle',
    '& .axis': { stroke: theme.colors.border.weak },
    '& .range': { fill: theme.visualization.getColorByName('blue'), opacity: 0.35 },
    '& .tick': { stroke: theme.visualization.getColorByName('blue') },
    '& .in': { fill: theme.colors.text.primary },
    '& .out': { fill: theme.colors.warning.main },
  }),
});
