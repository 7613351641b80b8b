import React, { useMemo, useState } from 'react';
import { Link, useSearchParams } from 'react-router-dom';
import { css } from '@emotion/css';
import { type GrafanaTheme2 } from '@grafana/data';
import {
  Alert as Notice,
  Button,
  ClipboardButton,
  EmptyState,
  Icon,
  Modal,
  RadioButtonGroup,
  useStyles2,
} from '@grafana/ui';
import {
  type Action,
  type AgentEvent,
  type AlertDetail,
  api,
  type BlastRadius,
  type Range,
  type TimelineItem,
} from '../api';
import { useAnalyst } from '../analyst';
import { Page } from '../components/Page';
import { BandChart } from '../components/BandChart';
import { AssignDialog, CloseDialog, CommentDialog, SeverityDialog, SuppressDialog } from '../components/dialogs';
import { EntityGraph } from '../components/EntityGraph';
import { EntityLink } from '../components/EntityLink';
import { Figure, PlainTable, Section, Shown } from '../components/Section';
import { SeverityMark } from '../components/Severity';
import { TechniqueLink } from '../components/TechniqueLink';
import { toast } from '../components/toast';
import { paths } from '../constants';
import { bytes, count, featureName, featureValue, instant, percent, span, times, words } from '../format';
import { safe } from '../text/escape';
import { AgentText } from '../text/Text';
import { type Loaded, useLoad } from '../useLoad';
import { useNow } from '../useNow';
import { StateMark } from './Triage';

type DialogKind = 'close' | 'assign' | 'comment' | 'severity' | 'suppress';

const NAV = { text: 'Alert' };

/** What of a timeline is shown. */
const TIMELINE = 1000;

/** Everything that decides about one alert, in the order in which one asks. */
export default function Alert() {
  const [search] = useSearchParams();
  const id = search.get('id') ?? '';
  const loaded = useLoad(() => api.alert(id), [id]);
  return (
    <Page nav={NAV}>
      {id === '' ? (
        <EmptyState variant="not-found" message="No alert was named">
          <Link to={paths.triage()}>To the queue</Link>
        </EmptyState>
      ) : (
        <Shown loaded={loaded}>
          {({ alert, actions }) => <Told key={alert.id} alert={alert} actions={actions} reload={loaded.reload} />}
        </Shown>
      )}
    </Page>
  );
}

function Told({ alert, actions, reload }: { alert: AlertDetail; actions: Action[]; reload: () => void }) {
  const styles = useStyles2(getStyles);
  const { can_triage } = useAnalyst();
  const now = useNow();
  const [dialog, setDialog] = useState<DialogKind>();
  const [feature, setFeature] = useState(alert.evidence[0]?.feature ?? '');
  const length = Date.parse(alert.last_seen) - Date.parse(alert.first_seen);
  const around: Range = useMemo(
    () => ({
      from: Date.parse(alert.first_seen) - Math.max(15 * 60_000, length / 2),
      to: Date.parse(alert.last_seen) + Math.max(15 * 60_000, length / 2),
    }),
    [alert.first_seen, alert.last_seen, length]
  );
  const episode: Range = { from: Date.parse(alert.first_seen), to: Date.parse(alert.last_seen) + 1 };
  const agent = alert.entity_kind === 'agent' ? alert.entity_id : (alert.agent_ids[0] ?? '');

  const chart = useLoad(() => api.chart(alert.id, feature), [alert.id, feature]);
  const events = useLoad(() => api.events(alert.id), [alert.id]);
  const graph = useLoad(() => api.graph(alert.entity_kind, alert.entity_id, episode), [alert.id]);
  const blast = useLoad(() => api.blast(alert.entity_kind, alert.entity_id, episode), [alert.id]);
  const timeline = useLoad(
    () => (agent ? api.timeline(agent, around, TIMELINE) : Promise.resolve({ items: [] })),
    [agent, around.from, around.to]
  );

  const act = async (action: string, value = '', why = '') => {
    const { failed } = await api.act([alert.id], action, value, why);
    if (failed?.length) {
      throw new Error(failed[0].error);
    }
    setDialog(undefined);
    reload();
  };
  const attempt = (action: string) => act(action).catch((e: Error) => toast('error', e.message));
  const props = { rows: [alert], onDismiss: () => setDialog(undefined) };
  const disabled = !can_triage;

  return (
    <div className={styles.page}>
      <nav aria-label="Path" className={styles.path}>
        <Link to={paths.triage()}>
          <Icon name="arrow-left" /> Triage
        </Link>
      </nav>
      <header className={styles.header}>
        <div className={styles.headline}>
          <SeverityMark severity={alert.severity} size={26} />
          <h1 className={styles.title}>
            <AgentText value={alert.title} max={240} />
          </h1>
        </div>
        <div className={styles.meta}>
          <StateMark row={alert} />
          <span>
            {alert.severity}
            {alert.severity !== alert.severity_detected && ` (detected ${alert.severity_detected})`}
          </span>
          <span>{words(alert.detector)}</span>
          <span>
            {alert.entity_kind} <EntityLink kind={alert.entity_kind} id={alert.entity_id} />
          </span>
          {alert.cohort && (
            <span>
              cohort <AgentText value={alert.cohort} max={40} />
            </span>
          )}
          <span>
            {instant(alert.first_seen)} – {instant(alert.last_seen)} UTC ({span(Math.max(0, length / 1000))})
          </span>
          <span>{percent(alert.confidence)} certain</span>
          <span>{count(alert.event_count)} events</span>
          <span>
            {alert.assignee ? (
              <>
                assigned to <AgentText value={alert.assignee} max={40} />
              </>
            ) : (
              'nobody’s'
            )}
          </span>
          {alert.suppressed && (
            <span>
              <Icon name="bell-slash" /> suppressed
            </span>
          )}
        </div>
        <div className={styles.actions} role="toolbar" aria-label="Actions">
          {alert.state === 'closed' ? (
            <Button icon="history" disabled={disabled} onClick={() => attempt('reopen')}>
              Reopen
            </Button>
          ) : (
            <Button icon="times-circle" disabled={disabled} onClick={() => setDialog('close')}>
              Close with a verdict
            </Button>
          )}
          {alert.state === 'open' && (
            <Button variant="secondary" icon="check" disabled={disabled} onClick={() => attempt('acknowledge')}>
              Acknowledge
            </Button>
          )}
          <Button variant="secondary" icon="user" disabled={disabled} onClick={() => setDialog('assign')}>
            Assign
          </Button>
          <Button variant="secondary" icon="comment-alt" disabled={disabled} onClick={() => setDialog('comment')}>
            Comment
          </Button>
          <Button
            variant="secondary"
            icon="exclamation-triangle"
            disabled={disabled}
            onClick={() => setDialog('severity')}
          >
            Severity
          </Button>
          <Button variant="secondary" icon="bell-slash" disabled={disabled} onClick={() => setDialog('suppress')}>
            Suppress…
          </Button>
          {disabled && <span className={styles.quiet}>Your role may read, not triage.</span>}
        </div>
      </header>

      <p className={styles.reason}>
        <AgentText value={alert.reason} max={1500} />
      </p>

      <div className={styles.grid}>
        <Section
          title="Evidence"
          hint={`What the score of ${count(alert.score)} is made of, largest part first; choose one to see it in the chart`}
          wide
        >
          <div className={styles.evidence}>
            <div>
              {alert.evidence.map((e) => (
                <button
                  key={e.feature}
                  type="button"
                  className={styles.feature}
                  aria-pressed={e.feature === feature}
                  onClick={() => setFeature(e.feature)}
                >
                  <span>
                    {featureName(e.feature)}
                    <small>per {span(e.window_seconds)}</small>
                  </span>
                  <span className={styles.observed}>
                    {featureValue(e.feature, e.observed)}
                    <small>{times(e.observed, e.expected)}</small>
                  </span>
                  <span className={styles.expected}>
                    expected {featureValue(e.feature, e.expected)}
                    <small>
                      95 %: {featureValue(e.feature, e.lower)} – {featureValue(e.feature, e.upper)}
                    </small>
                    <small>p {e.p_value < 1e-300 ? '< 1e-300' : e.p_value.toExponential(1)}</small>
                  </span>
                  <Part of={alert.score} is={e.contribution} />
                </button>
              ))}
            </div>
            <div style={{ minWidth: 0 }}>
              <Shown loaded={chart}>
                {(c) =>
                  c.points.some((p) => p.observed > 0) ? (
                    <BandChart
                      key={c.feature}
                      feature={c.feature}
                      unit={c.unit}
                      points={c.points}
                      windowSeconds={c.window_seconds}
                      marked={c.marked}
                      banded={c.banded}
                      height={280}
                    />
                  ) : (
                    <p className={styles.quiet}>The events of this time are no longer kept.</p>
                  )
                }
              </Shown>
            </div>
          </div>
        </Section>

        <Section title="Involved" hint="From where, with what, by whom, to what; during the alert" wide>
          <Shown loaded={graph}>
            {(g) =>
              g.nodes.length ? (
                <EntityGraph graph={g} />
              ) : (
                <p className={styles.quiet}>No events are kept for this time.</p>
              )
            }
          </Shown>
        </Section>

        <Section title="Blast radius" hint="What was read, written and reached during the alert" wide>
          <Shown loaded={blast}>{(b) => <Blast blast={b} self={agent} />}</Shown>
        </Section>

        <Section
          title="Events"
          hint={events.data ? `${count(events.data.events.length)} of ${count(events.data.total)}` : undefined}
          wide
        >
          <Shown loaded={events}>{(e) => <Events events={e.events} />}</Shown>
        </Section>

        <Section
          title="Timeline"
          hint={
            <>
              What <AgentText value={agent} max={40} mono /> did before, during and after
            </>
          }
        >
          <Timeline loaded={timeline} from={episode.from} to={episode.to} />
        </Section>

        <div className={styles.stack}>
          <Section
            title="Audit trail"
            hint="Nothing here is ever changed or deleted"
            actions={<Button size="sm" variant="secondary" icon="sync" onClick={reload} aria-label="Load again" />}
          >
            <ol className={styles.trail}>
              <li>
                <time>{instant(alert.time)}</time>
                <span>
                  raised by {words(alert.detector)}{' '}
                  <span className={styles.quiet}>
                    {safe(alert.detector_version, 20)}, baseline {safe(alert.baseline_version, 40) || '–'}
                  </span>
                </span>
              </li>
              {actions.map((a) => (
                <li key={a.id}>
                  <time>{instant(a.time)}</time>
                  <span>
                    <strong>
                      <AgentText value={a.who} max={60} />
                    </strong>{' '}
                    {said(a)}
                    {a.value && (
                      <>
                        {' '}
                        <em>
                          <AgentText value={a.value} max={80} />
                        </em>
                      </>
                    )}
                    {a.why && (
                      <div className={styles.why}>
                        <AgentText value={a.why} max={4000} lines />
                      </div>
                    )}
                  </span>
                </li>
              ))}
            </ol>
          </Section>
          <Section title="Techniques">
            {alert.techniques.length === 0 && <p className={styles.quiet}>None named.</p>}
            <ul className={styles.techniques}>
              {alert.techniques.map((t) => (
                <li key={t.framework + t.id}>
                  <span className={styles.quiet}>{safe(t.framework, 20)}</span> <TechniqueLink technique={t} />
                </li>
              ))}
            </ul>
          </Section>
          <Section
            title="In SQL"
            hint="Returns the events behind the alert"
            actions={
              <ClipboardButton size="sm" variant="secondary" icon="copy" getText={() => alert.query}>
                Copy
              </ClipboardButton>
            }
          >
            <pre className={styles.sql} tabIndex={0}>
              <AgentText value={alert.query} max={4000} lines />
            </pre>
          </Section>
        </div>
      </div>

      {dialog === 'close' && <CloseDialog {...props} onSubmit={(v, why) => act('close', v, why)} />}
      {dialog === 'assign' && <AssignDialog {...props} onSubmit={(v) => act('assign', v)} />}
      {dialog === 'comment' && <CommentDialog {...props} onSubmit={(_, why) => act('comment', '', why)} />}
      {dialog === 'severity' && <SeverityDialog {...props} onSubmit={(v, why) => act('severity', v, why)} />}
      {dialog === 'suppress' && (
        <SuppressDialog
          row={alert}
          now={now}
          onDismiss={props.onDismiss}
          onDone={() => {
            setDialog(undefined);
            toast('success', 'Suppressed; the engine reads it within seconds');
            reload();
          }}
        />
      )}
    </div>
  );
}

/** How much of the score a piece of evidence accounts for. */
function Part({ of, is }: { of: number; is: number }) {
  const styles = useStyles2(getStyles);
  const share = of > 0 ? Math.min(1, is / of) : 0;
  return (
    <span className={styles.part}>
      <span>
        <i style={{ width: `${100 * share}%` }} />
      </span>
      <small>{share > 0 && share < 0.005 ? '< 1' : Math.round(100 * share)} % of the score</small>
    </span>
  );
}

function said(a: Action): string {
  const verbs: Record<string, string> = {
    acknowledge: 'acknowledged it',
    assign: a.value ? 'assigned it to' : 'took the assignee off',
    comment: 'said',
    close: 'closed it as',
    reopen: 'reopened it',
    severity: 'set the severity to',
  };
  return verbs[a.action] ?? safe(a.action, 30);
}

function Blast({ blast, self }: { blast: BlastRadius; self: string }) {
  const styles = useStyles2(getStyles);
  const { totals } = blast;
  return (
    <>
      <div className={styles.figures}>
        <Figure name="Events" value={count(totals.events)} />
        <Figure name="Objects read" value={count(totals.resources_read)} />
        <Figure
          name="Objects written"
          value={count(totals.resources_written)}
          tone={totals.resources_written > 0 ? 'warning' : undefined}
        />
        <Figure
          name="Destinations reached"
          value={count(totals.destinations)}
          tone={totals.destinations > 0 ? 'warning' : undefined}
        />
        <Figure name="Sent" value={bytes(totals.sent)} />
        <Figure name="Received" value={bytes(totals.received)} />
      </div>
      <div className={styles.halves}>
        <PlainTable
          head={['Service', 'Access', 'Events', 'Objects', 'Destinations', 'Sent', 'Received']}
          label="By service"
        >
          {blast.services.map((s) => (
            <tr key={`${s.service} ${s.access}`}>
              <td>
                <AgentText value={s.service} max={60} />
              </td>
              <td>{safe(s.access, 20)}</td>
              <td>{count(s.events)}</td>
              <td>{count(s.resources)}</td>
              <td>{count(s.destinations)}</td>
              <td className="w">{bytes(s.sent)}</td>
              <td className="w">{bytes(s.received)}</td>
            </tr>
          ))}
        </PlainTable>
        <PlainTable head={['Credential', 'Who else used it', 'From']} label="Credentials">
          {blast.credentials
            .map((c) => ({ ...c, agents: c.agents.filter((a) => a.agent_id !== self) }))
            .map((c) => (
              <tr key={c.credential_id}>
                <td>
                  <EntityLink kind="credential" id={c.credential_id} max={32} />
                </td>
                <td>
                  {c.agents.length === 0 && <span className={styles.quiet}>no other agent</span>}
                  {c.agents.slice(0, 8).map((a) => (
                    <div key={a.agent_id}>
                      <EntityLink kind="agent" id={a.agent_id} max={32} />{' '}
                      <span className={styles.quiet}>{count(a.events)}</span>
                    </div>
                  ))}
                  {c.agents.length > 8 && <span className={styles.quiet}>and {c.agents.length - 8} more</span>}
                </td>
                <td>
                  {c.sources.slice(0, 6).map((s) => (
                    <div key={s}>
                      <EntityLink kind="source" id={s} />
                    </div>
                  ))}
                </td>
              </tr>
            ))}
        </PlainTable>
      </div>
    </>
  );
}

const text = (v: unknown) => (v === undefined || v === null ? '' : String(v));

export function Events({ events }: { events: AgentEvent[] }) {
  const [open, setOpen] = useState<AgentEvent>();
  const styles = useStyles2(getStyles);
  if (events.length === 0) {
    return <p className={styles.quiet}>The events behind it are no longer kept.</p>;
  }
  return (
    <>
      <PlainTable
        head={['Time (UTC)', 'Action', 'Service', 'Object', 'To', 'Status', 'Sent', 'Received', 'Content', '']}
        label="Events behind the alert"
      >
        {events.map((e) => (
          <tr key={e.id}>
            <td className="w">{instant(e.time)}</td>
            <td>
              <AgentText value={text(e.action)} max={50} />
            </td>
            <td>
              <AgentText value={text(e.service)} max={40} />
            </td>
            <td>
              <AgentText value={text(e.resource)} max={60} mono />
            </td>
            <td>
              <AgentText value={text(e.destination)} max={40} mono />
            </td>
            <td>{Number(e.status) > 0 ? text(e.status) : ''}</td>
            <td className="w">{e.request_bytes ? bytes(Number(e.request_bytes)) : ''}</td>
            <td className="w">{e.response_bytes ? bytes(Number(e.response_bytes)) : ''}</td>
            <td>
              <AgentText value={text(e.content)} max={80} />
            </td>
            <td>
              <Button
                size="sm"
                fill="text"
                variant="secondary"
                onClick={() => setOpen(e)}
                aria-label={`JSON of event ${safe(e.id, 40)}`}
              >
                JSON
              </Button>
            </td>
          </tr>
        ))}
      </PlainTable>
      {open && (
        <Modal title="Event" isOpen onDismiss={() => setOpen(undefined)}>
          <pre className={styles.sql} tabIndex={0} style={{ maxHeight: '60vh' }}>
            <AgentText value={JSON.stringify(open, null, 2)} max={20000} lines mono />
          </pre>
          <Modal.ButtonRow>
            <ClipboardButton variant="secondary" icon="copy" getText={() => JSON.stringify(open, null, 2)}>
              Copy
            </ClipboardButton>
          </Modal.ButtonRow>
        </Modal>
      )}
    </>
  );
}

type Kind = 'all' | 'alerts' | 'writes';

function Timeline({ loaded, from, to }: { loaded: Loaded<{ items: TimelineItem[] }>; from: number; to: number }) {
  const styles = useStyles2(getStyles);
  const [kind, setKind] = useState<Kind>('all');
  return (
    <>
      <RadioButtonGroup<Kind>
        size="sm"
        aria-label="Which"
        value={kind}
        onChange={setKind}
        options={[
          { value: 'all', label: 'All' },
          { value: 'writes', label: 'Not reads' },
          { value: 'alerts', label: 'Alerts' },
        ]}
      />
      <Shown loaded={loaded}>
        {({ items }) => {
          const shown = items.filter(
            (i) => kind === 'all' || i.kind === 'alert' || (kind === 'writes' && i.access !== 'read')
          );
          return shown.length === 0 ? (
            <Notice severity="info" title="Nothing of this kind in this time" />
          ) : (
            <ol className={styles.timeline} tabIndex={0} aria-label="What the agent did">
              {items.length >= TIMELINE && (
                <li className={styles.quiet} style={{ display: 'block' }}>
                  Only the last {count(TIMELINE)} are shown; the SQL finds all.
                </li>
              )}
              {shown.map((i, n) => {
                const t = Date.parse(i.time);
                return (
                  <li key={`${i.id} ${n}`} data-inside={t >= from && t <= to} data-kind={i.kind}>
                    <time>{instant(i.time)}</time>
                    {i.kind === 'alert' ? (
                      <span>
                        ▲ <Link to={paths.alert(i.id)}>{words(i.action)}</Link> <AgentText value={i.alert} max={160} />
                      </span>
                    ) : (
                      <span>
                        <AgentText value={i.action} max={40} />{' '}
                        <span className={styles.quiet}>{safe(i.service, 40)}</span>{' '}
                        <AgentText value={i.resource} max={60} mono />
                        {i.destination && (
                          <>
                            {' '}
                            → <AgentText value={i.destination} max={40} mono />
                          </>
                        )}{' '}
                        {i.status >= 400 && <span className={styles.bad}>{i.status}</span>}
                      </span>
                    )}
                  </li>
                );
              })}
            </ol>
          );
        }}
      </Shown>
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5) }),
  path: css({ fontSize: theme.typography.bodySmall.fontSize, '& a': { color: theme.colors.text.secondary } }),
  header: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1) }),
  headline: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1.5) }),
  title: css({ fontSize: theme.typography.h3.fontSize, margin: 0 }),
  meta: css({
    display: 'flex',
    flexWrap: 'wrap',
    rowGap: 2,
    color: theme.colors.text.secondary,
    fontSize: theme.typography.bodySmall.fontSize,
    '& > *:not(:last-child)::after': { content: '"·"', margin: '0 8px', color: theme.colors.text.disabled },
  }),
  actions: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1) }),
  reason: css({
    margin: 0,
    maxWidth: '110ch',
    fontSize: theme.typography.body.fontSize,
    lineHeight: 1.6,
    padding: theme.spacing(1, 2),
    borderLeft: `3px solid ${theme.colors.warning.border}`,
    background: theme.colors.background.primary,
  }),
  grid: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(2, minmax(0, 1fr))',
    '@media (max-width: 1250px)': { gridTemplateColumns: 'minmax(0, 1fr)' },
    gap: theme.spacing(1.5),
    alignItems: 'start',
  }),
  stack: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5), minWidth: 0 }),
  evidence: css({
    display: 'grid',
    gridTemplateColumns: 'minmax(420px, 1fr) 3fr',
    gap: theme.spacing(2),
    '@media (max-width: 1100px)': { gridTemplateColumns: '1fr' },
  }),
  feature: css({
    display: 'grid',
    gridTemplateColumns: '1.3fr 1fr 1.5fr',
    gap: theme.spacing(1),
    width: '100%',
    textAlign: 'left',
    background: 'none',
    border: 0,
    borderLeft: '3px solid transparent',
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    padding: theme.spacing(0.75, 1),
    color: theme.colors.text.primary,
    fontSize: theme.typography.bodySmall.fontSize,
    '& small': { display: 'block', color: theme.colors.text.secondary, fontSize: 11 },
    '&:hover': { background: theme.colors.action.hover },
    '&[aria-pressed=true]': { borderLeftColor: theme.colors.warning.border, background: theme.colors.action.selected },
    '&[aria-pressed=true] span, &[aria-pressed=true] small': { color: theme.colors.text.primary },
  }),
  part: css({
    gridColumn: '1 / -1',
    display: 'grid',
    gridTemplateColumns: '1fr 108px',
    gap: theme.spacing(1),
    alignItems: 'center',
    '& > span': { height: 6, borderRadius: 3, background: theme.colors.background.secondary },
    '& i': {
      display: 'block',
      height: 6,
      minWidth: 2,
      borderRadius: 3,
      background: theme.visualization.getColorByName('orange'),
    },
    '& small': { textAlign: 'right' },
  }),
  observed: css({ fontWeight: theme.typography.fontWeightMedium, fontVariantNumeric: 'tabular-nums' }),
  expected: css({ color: theme.colors.text.secondary, fontVariantNumeric: 'tabular-nums' }),
  figures: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(4), marginBottom: theme.spacing(1.5) }),
  halves: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(auto-fit, minmax(min(520px, 100%), 1fr))',
    gap: theme.spacing(3),
  }),
  quiet: css({ color: theme.colors.text.secondary }),
  bad: css({ color: theme.colors.error.text }),
  trail: css({
    listStyle: 'none',
    fontSize: theme.typography.bodySmall.fontSize,
    '& li': {
      display: 'grid',
      gridTemplateColumns: '140px 1fr',
      gap: theme.spacing(1),
      padding: theme.spacing(0.5, 0),
    },
    '& time': { color: theme.colors.text.secondary, fontVariantNumeric: 'tabular-nums' },
  }),
  why: css({ whiteSpace: 'pre-wrap', overflowWrap: 'anywhere', color: theme.colors.text.secondary }),
  techniques: css({ listStyle: 'none', fontSize: theme.typography.bodySmall.fontSize, '& li': { padding: '2px 0' } }),
  sql: css({
    margin: 0,
    maxHeight: 260,
    overflow: 'auto',
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
    fontSize: 12,
    color: theme.colors.text.primary,
    background: theme.colors.background.canvas,
    border: `1px solid ${theme.colors.border.weak}`,
  }),
  timeline: css({
    listStyle: 'none',
    maxHeight: 560,
    overflow: 'auto',
    marginTop: theme.spacing(1),
    fontSize: theme.typography.bodySmall.fontSize,
    '& li': {
      display: 'grid',
      gridTemplateColumns: '140px 1fr',
      gap: theme.spacing(1),
      padding: '3px 8px',
      borderLeft: `3px solid ${theme.colors.border.weak}`,
      overflowWrap: 'anywhere',
    },
    '& li[data-inside=true]': {
      borderLeftColor: theme.colors.warning.border,
      background: theme.colors.warning.transparent,
    },
    '& li[data-inside=true] time, & li[data-inside=true] span': { color: theme.colors.text.primary },
    '& li[data-kind=alert]': {
      borderLeftColor: theme.colors.error.border,
      fontWeight: theme.typography.fontWeightMedium,
    },
    '& time': {
      color: theme.colors.text.secondary,
      fontVariantNumeric: 'tabular-nums',
      fontWeight: theme.typography.fontWeightRegular,
    },
    '& a': { color: theme.colors.text.link, textDecoration: 'underline' },
  }),
});
