import React, { useCallback, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useNavigate, useSearchParams } from 'react-router-dom';
import { css, cx } from '@emotion/css';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type GrafanaTheme2 } from '@grafana/data';
import {
  Alert,
  Button,
  Checkbox,
  Combobox,
  EmptyState,
  FilterInput,
  Icon,
  IconButton,
  Input,
  LoadingBar,
  Modal,
  MultiCombobox,
  TextLink,
  useStyles2,
} from '@grafana/ui';
import { api, type Row, type Sparkline as Line, type State } from '../api';
import { SEVERITIES, type Severity } from '../severities';
import { useAnalyst } from '../analyst';
import { Page } from '../components/Page';
import { AssignDialog, CloseDialog } from '../components/dialogs';
import { EntityLink } from '../components/EntityLink';
import { SeverityMark } from '../components/Severity';
import { Sparkline } from '../components/Sparkline';
import { toast } from '../components/toast';
import { paths, PLUGIN_ID } from '../constants';
import { ago, count, featureName, featureValue, instant, percent, times, words } from '../format';
import { safe } from '../text/escape';
import { AgentText } from '../text/Text';
import { useNow } from '../useNow';
import {
  BUILT_IN,
  DEFAULT_VIEW,
  RANGES,
  rangeOf,
  savedViews,
  saveViews,
  searchFrom,
  type SortKey,
  type View,
  viewFrom,
} from './triage/queue';
import { useQueue, useSparklines } from './triage/useQueue';

const ROW_HEIGHT = 44;

const COLUMNS: Array<{ key: SortKey | ''; label: string; width: string }> = [
  { key: '', label: '', width: '32px' },
  { key: 'severity', label: 'Severity', width: '92px' },
  { key: '', label: 'Alert', width: 'minmax(300px, 5fr)' },
  { key: 'score', label: 'Against its band', width: '134px' },
  { key: 'entity', label: 'Entity', width: 'minmax(110px, 1.2fr)' },
  { key: '', label: 'Cohort', width: 'minmax(70px, 0.7fr)' },
  { key: 'first_seen', label: 'First seen', width: '76px' },
  { key: 'last_seen', label: 'Last seen', width: '76px' },
  { key: 'confidence', label: 'Certain', width: '62px' },
  { key: 'state', label: 'State', width: '112px' },
  { key: 'assignee', label: 'Assignee', width: 'minmax(66px, 0.6fr)' },
];
const TEMPLATE = COLUMNS.map((c) => c.width).join(' ');
/** What is left out, by its place, where Grafana's menu leaves too little room. */
const SPARE = COLUMNS.flatMap((c, i) => (['Cohort', 'First seen'].includes(c.label) ? [i] : []));
const NARROW = COLUMNS.filter((_, i) => !SPARE.includes(i))
  .map((c) => c.width)
  .join(' ');

const STATES = [
  { value: 'open,acknowledged', label: 'Not closed' },
  { value: 'open', label: 'Open' },
  { value: 'acknowledged', label: 'Acknowledged' },
  { value: 'closed', label: 'Closed' },
  { value: '', label: 'Any state' },
];

type Dialog = { kind: 'close' | 'assign'; rows: Row[] } | { kind: 'help' } | undefined;

/** The queue. */
export default function Triage() {
  const styles = useStyles2(getStyles);
  const navigate = useNavigate();
  const analyst = useAnalyst();
  const now = useNow();
  const [search, setSearch] = useSearchParams();
  const view = useMemo(() => viewFrom(search), [search]);
  const [opened] = useState(() => Date.now());
  const range = useMemo(() => rangeOf(view, opened), [view, opened]);
  const queue = useQueue(range, view);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [active, setActive] = useState<string>();
  const [dialog, setDialog] = useState<Dialog>();
  const scroller = useRef<HTMLDivElement>(null);
  const page = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // The queue fills what the chrome above it leaves, whatever Grafana shows there.
    const top = page.current?.getBoundingClientRect().top ?? 140;
    page.current?.style.setProperty('--queue-top', `${Math.round(top + window.scrollY)}px`);
  }, []);

  const { rows, order } = queue;
  const setView = useCallback(
    (change: Partial<View>) => setSearch(searchFrom({ ...view, ...change }), { replace: true }),
    [view, setSearch]
  );

  const virtual = useVirtualizer({
    count: order.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const lines = useSparklines(items.map((i) => order[i.index]).filter(Boolean));

  const at = active === undefined ? -1 : order.indexOf(active);
  const move = useCallback(
    (step: number) => {
      if (order.length === 0) {
        return;
      }
      const next = Math.max(0, Math.min(order.length - 1, at < 0 ? (step > 0 ? 0 : order.length - 1) : at + step));
      setActive(order[next]);
      virtual.scrollToIndex(next);
    },
    [order, at, virtual]
  );

  const chosen = useCallback((): Row[] => {
    const ids = selected.size > 0 ? [...selected] : active ? [active] : [];
    return ids.map((id) => rows.get(id)).filter((row): row is Row => row !== undefined);
  }, [selected, active, rows]);

  const act = useCallback(
    async (targets: Row[], action: string, value = '', why = '') => {
      const next = order[Math.min(order.length - 1, at + 1)];
      const applied: Row[] = [];
      const failed: Array<{ id: string; error: string }> = [];
      for (let i = 0; i < targets.length; i += 1000) {
        const answer = await api.act(
          targets.slice(i, i + 1000).map((row) => row.id),
          action,
          value,
          why
        );
        applied.push(...answer.applied);
        failed.push(...(answer.failed ?? []));
      }
      // A row that leaves the view hands the cursor to the one below it.
      if (action === 'close' && targets.some((row) => row.id === active)) {
        setActive(next === active ? undefined : next);
      }
      queue.take(applied, true);
      setSelected(new Set());
      if (failed.length > 0) {
        toast('error', `${failed.length} of ${targets.length} could not be changed: ${failed[0].error}`);
      } else {
        const done: Record<string, string> = {
          acknowledge: 'acknowledged',
          assign: 'assigned',
          close: 'closed',
          reopen: 'reopened',
        };
        toast('success', `${targets.length === 1 ? 'Alert' : `${targets.length} alerts`} ${done[action] ?? action}`);
      }
    },
    [queue, order, at, active]
  );

  const attempt = useCallback(
    (action: string, targets: Row[]) => {
      act(targets, action).catch((e: Error) => toast('error', e.message));
    },
    [act]
  );

  const toggle = useCallback((id: string) => {
    setSelected((s) => {
      const next = new Set(s);
      next.has(id) ? next.delete(id) : next.add(id);
      return next;
    });
  }, []);

  // Before the paint, so that a key pressed on what is seen acts on it.
  useLayoutEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const target = e.target as HTMLElement;
      if (
        dialog ||
        e.ctrlKey ||
        e.metaKey ||
        e.altKey ||
        (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && target.getAttribute('type') !== 'checkbox') ||
        target.isContentEditable
      ) {
        return;
      }
      const onControl = /^(BUTTON|A)$/.test(target.tagName) || target.getAttribute('type') === 'checkbox';
      const targets = chosen();
      const handled = (() => {
        switch (e.key) {
          case 'j':
          case 'ArrowDown':
            move(1);
            return true;
          case 'k':
          case 'ArrowUp':
            move(-1);
            return true;
          case 'Enter':
            if (!active || onControl) {
              return false;
            }
            navigate(paths.alert(active));
            return true;
          case 'x':
            active && toggle(active);
            return true;
          case 'Escape':
            setSelected(new Set());
            return true;
          case 'a':
            analyst.can_triage && targets.length > 0 && attempt('acknowledge', targets);
            return true;
          case 'c':
            analyst.can_triage && targets.length > 0 && setDialog({ kind: 'close', rows: targets });
            return true;
          case 'i':
            analyst.can_triage && targets.length > 0 && setDialog({ kind: 'assign', rows: targets });
            return true;
          case 'n':
            queue.show();
            return true;
          case '/':
            document.getElementById('triage-text')?.focus();
            return true;
          case '?':
            setDialog({ kind: 'help' });
            return true;
          default:
            return false;
        }
      })();
      if (handled) {
        // Grafana has keys of its own on the document.
        e.preventDefault();
        e.stopImmediatePropagation();
      }
    };
    window.addEventListener('keydown', onKey, true);
    return () => window.removeEventListener('keydown', onKey, true);
  }, [dialog, chosen, move, active, navigate, toggle, analyst, attempt, queue]);

  const facets = useMemo(() => {
    const detectors = new Map<string, number>();
    const cohorts = new Map<string, number>();
    const assignees = new Set<string>();
    rows.forEach((row) => {
      detectors.set(row.detector, (detectors.get(row.detector) ?? 0) + 1);
      cohorts.set(row.cohort, (cohorts.get(row.cohort) ?? 0) + 1);
      row.assignee && assignees.add(row.assignee);
    });
    const options = (m: Map<string, number>) =>
      [...m]
        .sort((a, b) => b[1] - a[1])
        .map(([value, n]) => ({ value, label: `${safe(value, 40) || 'none'} (${count(n)})` }));
    return { detectors: options(detectors), cohorts: options(cohorts), assignees: [...assignees].sort() };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- order changes when the rows do
  }, [order]);

  const severities = useMemo(() => {
    const n: Record<string, number> = {};
    order.forEach((id) => {
      const row = rows.get(id);
      row && (n[row.severity] = (n[row.severity] ?? 0) + 1);
    });
    return n;
  }, [order, rows]);

  const selectedAll = order.length > 0 && selected.size >= order.length;
  const targets = selected.size;

  return (
    <Page>
      <div className={styles.page} ref={page}>
        <h1 className={styles.srOnly}>Triage</h1>
        <Views view={view} onOpen={(s) => setSearch(new URLSearchParams(s))} />
        <div className={styles.filters} role="search" aria-label="Filter the queue">
          <div style={{ flex: '1 1 200px', maxWidth: 420 }}>
            <FilterInput
              id="triage-text"
              aria-label="Search title or entity"
              placeholder="Title, entity or alert id"
              value={view.text}
              onChange={(text) => setView({ text })}
              escapeRegex={false}
            />
          </div>
          <Combobox
            width={18}
            aria-labelledby="f-state"
            options={STATES}
            value={view.state.join(',')}
            onChange={(o) => setView({ state: o.value.split(',').filter(Boolean) as State[] })}
          />
          <MultiCombobox<Severity>
            width={20}
            aria-labelledby="f-severity"
            placeholder="Any severity"
            options={SEVERITIES.map((value) => ({ value, label: value }))}
            value={view.severity}
            onChange={(o) => setView({ severity: o.map((x) => x.value) })}
          />
          <MultiCombobox
            width={20}
            aria-labelledby="f-detector"
            placeholder="Any detector"
            options={facets.detectors}
            value={view.detector}
            onChange={(o) => setView({ detector: o.map((x) => x.value) })}
          />
          <MultiCombobox
            width={18}
            aria-labelledby="f-cohort"
            placeholder="Any cohort"
            options={facets.cohorts}
            value={view.cohort}
            onChange={(o) => setView({ cohort: o.map((x) => x.value) })}
          />
          <Combobox
            width={18}
            aria-labelledby="f-assignee"
            options={[
              { value: '', label: 'Anyone’s' },
              { value: '-', label: 'Nobody’s' },
              ...(analyst.login ? [{ value: analyst.login, label: 'Mine' }] : []),
              ...facets.assignees.filter((a) => a !== analyst.login).map((a) => ({ value: a, label: safe(a, 40) })),
            ]}
            value={view.assignee}
            onChange={(o) => setView({ assignee: o.value })}
          />
          <Combobox
            width={18}
            aria-labelledby="f-range"
            options={RANGES}
            value={view.range}
            onChange={(o) => setView({ range: o.value })}
          />
          <span hidden>
            <span id="f-state">State</span>
            <span id="f-severity">Severity</span>
            <span id="f-detector">Detector</span>
            <span id="f-cohort">Cohort</span>
            <span id="f-assignee">Assignee</span>
            <span id="f-range">Time</span>
          </span>
        </div>
        <div className={styles.bar}>
          {targets > 0 ? (
            <>
              <strong>{count(targets)} selected</strong>
              <Button
                size="sm"
                variant="secondary"
                icon="check"
                disabled={!analyst.can_triage}
                onClick={() => attempt('acknowledge', chosen())}
              >
                Acknowledge
              </Button>
              <Button
                size="sm"
                variant="secondary"
                icon="user"
                disabled={!analyst.can_triage}
                onClick={() => setDialog({ kind: 'assign', rows: chosen() })}
              >
                Assign
              </Button>
              <Button
                size="sm"
                variant="secondary"
                icon="times"
                disabled={!analyst.can_triage}
                onClick={() => setDialog({ kind: 'close', rows: chosen() })}
              >
                Close
              </Button>
              <Button size="sm" fill="text" variant="secondary" onClick={() => setSelected(new Set())}>
                Clear
              </Button>
              {!analyst.can_triage && <span>Your role may read, not triage.</span>}
            </>
          ) : (
            <span aria-live="polite" className={styles.summary}>
              <span>{count(order.length)} alerts</span>
              {SEVERITIES.filter((s) => severities[s]).map((s) => (
                <span key={s}>
                  <SeverityMark severity={s} size={11} /> {count(severities[s])} {s}
                </span>
              ))}
              {queue.truncated && (
                <span>
                  only the newest {count(rows.size)} of {count(queue.total)} are loaded: narrow the time
                </span>
              )}
            </span>
          )}
          <span style={{ flex: 1 }} />
          {queue.arrived > 0 && (
            <Button size="sm" icon="arrow-up" onClick={queue.show} data-testid="arrived">
              {`${count(queue.arrived)} new ${queue.arrived === 1 ? 'alert' : 'alerts'}`}
            </Button>
          )}
          <IconButton name="sync" tooltip="Load the queue again" onClick={queue.reload} />
          <IconButton name="keyboard" tooltip="Keyboard shortcuts (?)" onClick={() => setDialog({ kind: 'help' })} />
        </div>
        <div className={styles.loading}>{queue.loading && <LoadingBar width={400} />}</div>
        {queue.error && (
          <Alert severity="error" title={queue.error} buttonContent="Try again" onRemove={queue.reload}>
            {''}
          </Alert>
        )}
        {!queue.loading && !queue.error && order.length === 0 ? (
          <Nothing rows={rows} view={view} onChange={setView} />
        ) : (
          <div
            className={styles.table}
            role="grid"
            aria-label="Alerts"
            aria-rowcount={order.length + 1}
            aria-multiselectable
            ref={scroller}
            tabIndex={0}
            aria-activedescendant={active && at >= 0 ? `alert-${at}` : undefined}
            data-testid="queue"
          >
            <div role="row" aria-rowindex={1} className={cx(styles.row, styles.head)}>
              <div role="columnheader">
                <Checkbox
                  aria-label="Select all in view"
                  value={selectedAll}
                  indeterminate={targets > 0 && !selectedAll}
                  onChange={() => setSelected(selectedAll ? new Set() : new Set(order))}
                />
              </div>
              {COLUMNS.slice(1).map((c) => (
                <div
                  key={c.label}
                  role="columnheader"
                  aria-sort={c.key && view.sort === c.key ? (view.ascending ? 'ascending' : 'descending') : undefined}
                >
                  {c.key ? (
                    <button
                      type="button"
                      className={styles.sort}
                      onClick={() =>
                        setView({ sort: c.key as SortKey, ascending: view.sort === c.key ? !view.ascending : false })
                      }
                    >
                      {c.label}
                      {view.sort === c.key && <Icon name={view.ascending ? 'arrow-up' : 'arrow-down'} size="sm" />}
                    </button>
                  ) : (
                    c.label
                  )}
                </div>
              ))}
            </div>
            <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
              {items.map((item) => {
                const row = rows.get(order[item.index]);
                return row ? (
                  <QueueRow
                    key={row.id}
                    row={row}
                    index={item.index}
                    top={item.start}
                    now={now}
                    line={lines.get(row.id)}
                    active={row.id === active}
                    selected={selected.has(row.id)}
                    onActive={setActive}
                    onToggle={toggle}
                    onOpen={navigate}
                  />
                ) : null;
              })}
            </div>
          </div>
        )}
        {dialog?.kind === 'close' && (
          <CloseDialog
            rows={dialog.rows}
            onDismiss={() => setDialog(undefined)}
            onSubmit={async (verdict, why) => {
              await act(dialog.rows, 'close', verdict, why);
              setDialog(undefined);
            }}
          />
        )}
        {dialog?.kind === 'assign' && (
          <AssignDialog
            rows={dialog.rows}
            onDismiss={() => setDialog(undefined)}
            onSubmit={async (who) => {
              await act(dialog.rows, 'assign', who);
              setDialog(undefined);
            }}
          />
        )}
        {dialog?.kind === 'help' && <Help onDismiss={() => setDialog(undefined)} />}
      </div>
    </Page>
  );
}

interface RowProps {
  row: Row;
  index: number;
  top: number;
  now: number;
  line?: Line;
  active: boolean;
  selected: boolean;
  onActive: (id: string) => void;
  onToggle: (id: string) => void;
  onOpen: (to: string) => void;
}

const QueueRow = React.memo(function QueueRow({
  row,
  index,
  top,
  now,
  line,
  active,
  selected,
  onActive,
  onToggle,
  onOpen,
}: RowProps) {
  const styles = useStyles2(getStyles);
  return (
    <div
      id={`alert-${index}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={selected}
      data-active={active}
      data-state={row.state}
      data-id={row.id}
      className={cx(styles.row, styles.body)}
      style={{ transform: `translateY(${top}px)` }}
      onClick={(e) => {
        if ((e.target as HTMLElement).closest('a,label,input,button')) {
          return;
        }
        onActive(row.id);
      }}
      onDoubleClick={() => onOpen(paths.alert(row.id))}
    >
      <div role="gridcell">
        <Checkbox
          aria-label={`Select ${safe(row.title, 60)}`}
          value={selected}
          onChange={() => onToggle(row.id)}
          tabIndex={-1}
        />
      </div>
      <div role="gridcell">
        <SeverityMark severity={row.severity} label />
      </div>
      <div role="gridcell" className={styles.two}>
        <a
          href={paths.alert(row.id)}
          tabIndex={-1}
          className={styles.title}
          onClick={(e) => {
            if (!e.ctrlKey && !e.metaKey && !e.shiftKey) {
              e.preventDefault();
              onOpen(paths.alert(row.id));
            }
          }}
        >
          <AgentText value={row.title} max={160} />
        </a>
        <span className={styles.sub}>
          {words(row.detector)}
          {row.feature && (
            <>
              {' '}
              · {featureName(row.feature)}: {featureValue(row.feature, row.observed)}, {times(row.observed, row.expected)}
            </>
          )}
          {row.suppressed && ' · suppressed'}
        </span>
      </div>
      <div role="gridcell">
        <Sparkline data={line} />
      </div>
      <div role="gridcell" className={styles.two}>
        <span>
          <EntityLink kind={row.entity_kind} id={row.entity_id} max={36} />
        </span>
        <span className={styles.sub}>
          {row.entity_kind}
          {row.agent_ids.length > 1 ? `, ${count(row.agent_ids.length)} agents` : ''}
        </span>
      </div>
      <div role="gridcell" className={styles.cut}>
        <AgentText value={row.cohort} max={24} />
      </div>
      <div role="gridcell" title={`${instant(row.first_seen)} UTC`}>
        {ago(row.first_seen, now)}
      </div>
      <div role="gridcell" title={`${instant(row.last_seen)} UTC`}>
        {ago(row.last_seen, now)}
      </div>
      <div role="gridcell" className={styles.number} title={`p = ${row.p_value.toExponential(1)}`}>
        {percent(row.confidence)}
      </div>
      <div role="gridcell">
        <StateMark row={row} />
      </div>
      <div role="gridcell" className={styles.cut}>
        {row.assignee ? <AgentText value={row.assignee} max={24} /> : <span className={styles.sub}>nobody</span>}
      </div>
    </div>
  );
});

export function StateMark({ row }: { row: Pick<Row, 'state' | 'verdict'> }) {
  const styles = useStyles2(getStyles);
  return (
    <span className={styles.state} data-state={row.state}>
      {row.state === 'open' ? (
        <svg width={14} height={14} viewBox="0 0 14 14" aria-hidden>
          <circle cx={7} cy={7} r={4} fill="none" stroke="currentColor" strokeWidth={2} />
        </svg>
      ) : (
        <Icon name={row.state === 'closed' ? 'check' : 'eye'} size="sm" aria-hidden />
      )}
      {row.state === 'closed' && row.verdict ? safe(row.verdict, 12) : row.state}
    </span>
  );
}

function Views({ view, onOpen }: { view: View; onOpen: (search: string) => void }) {
  const styles = useStyles2(getStyles);
  const [own, setOwn] = useState(savedViews);
  const [name, setName] = useState<string>();
  const here = searchFrom(view).toString();
  const keep = (views: typeof own) => {
    setOwn(views);
    saveViews(views);
  };
  const same = (s: string) => searchFrom(viewFrom(new URLSearchParams(s))).toString() === here;
  return (
    <nav className={styles.views} aria-label="Views">
      {[...BUILT_IN, ...own].map((v, i) => (
        <span key={`${i} ${v.name}`} className={styles.view}>
          <button type="button" aria-current={same(v.search) ? 'page' : undefined} onClick={() => onOpen(v.search)}>
            {safe(v.name, 40)}
          </button>
          {i >= BUILT_IN.length && (
            <IconButton
              name="times"
              size="sm"
              tooltip={`Forget the view ${safe(v.name, 40)}`}
              onClick={() => keep(own.filter((_, j) => j !== i - BUILT_IN.length))}
            />
          )}
        </span>
      ))}
      {name === undefined ? (
        <Button size="sm" fill="text" variant="secondary" icon="plus" onClick={() => setName('')}>
          Save this view
        </Button>
      ) : (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (name.trim()) {
              keep([...own, { name: name.trim(), search: here }]);
            }
            setName(undefined);
          }}
        >
          <Input
            autoFocus
            aria-label="Name of the view"
            placeholder="Name, then Enter"
            width={24}
            value={name}
            maxLength={40}
            onChange={(e) => setName(e.currentTarget.value)}
            onBlur={() => setName(undefined)}
          />
        </form>
      )}
    </nav>
  );
}

function Nothing({
  rows,
  view,
  onChange,
}: {
  rows: Map<string, Row>;
  view: View;
  onChange: (change: Partial<View>) => void;
}) {
  const filtered = rows.size > 0;
  return (
    <EmptyState
      variant={filtered ? 'not-found' : 'completed'}
      message={filtered ? `None of the ${count(rows.size)} alerts of this time match` : 'No alerts in this time'}
      button={
        filtered ? (
          <Button onClick={() => onChange({ ...DEFAULT_VIEW, range: view.range, state: [], suppressed: true })}>
            Show all {count(rows.size)}
          </Button>
        ) : view.range !== '1y' ? (
          <Button onClick={() => onChange({ range: '1y' })}>Look at the last year</Button>
        ) : undefined
      }
    >
      {filtered
        ? 'Closed and suppressed alerts are hidden unless the state filter asks for them.'
        : view.range !== '1y'
          ? 'Either every agent keeps to its habits, or nothing arrives: the fleet page says how fresh the data is.'
          : 'Nothing was raised in a year. If agents are active, the fleet page shows events per second; if it shows none, check the connection in the configuration.'}
      {!filtered && (
        <p>
          <TextLink href={paths.fleet()}>To the fleet</TextLink> ·{' '}
          <TextLink href={`/plugins/${PLUGIN_ID}`}>To the configuration</TextLink>
        </p>
      )}
    </EmptyState>
  );
}

function Help({ onDismiss }: { onDismiss: () => void }) {
  const styles = useStyles2(getStyles);
  const keys: Array<[string, string]> = [
    ['j  k', 'next, previous alert'],
    ['Enter', 'open the alert'],
    ['x', 'select it'],
    ['a', 'acknowledge what is selected, or the one under the cursor'],
    ['c', 'close with a verdict'],
    ['i', 'assign'],
    ['n', 'show the new alerts'],
    ['/', 'search'],
    ['Esc', 'clear the selection'],
    ['?', 'this help'],
  ];
  return (
    <Modal title="Keyboard" isOpen onDismiss={onDismiss}>
      <dl className={styles.keys}>
        {keys.map(([k, what]) => (
          <React.Fragment key={k}>
            <dt>
              {k.split('  ').map((one) => (
                <kbd key={one}>{one}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </React.Fragment>
        ))}
      </dl>
    </Modal>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({
    display: 'flex',
    flexDirection: 'column',
    gap: theme.spacing(1),
    height: 'calc(100vh - var(--queue-top, 140px) - 16px)',
    minHeight: 420,
  }),
  srOnly: css({ position: 'absolute', width: 1, height: 1, overflow: 'hidden', clip: 'rect(0 0 0 0)' }),
  filters: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center' }),
  bar: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1.5), minHeight: 32 }),
  summary: css({
    display: 'flex',
    gap: theme.spacing(2),
    color: theme.colors.text.secondary,
    fontVariantNumeric: 'tabular-nums',
  }),
  loading: css({ height: 1, overflow: 'hidden' }),
  table: css({
    flex: 1,
    minHeight: 0,
    overflow: 'auto',
    background: theme.colors.background.primary,
    border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default,
    fontSize: theme.typography.bodySmall.fontSize,
    contain: 'strict',
    containerType: 'inline-size',
    '&:focus-visible': { outline: `2px solid ${theme.colors.primary.border}`, outlineOffset: -2 },
  }),
  row: css({
    display: 'grid',
    gridTemplateColumns: TEMPLATE,
    minWidth: 1230,
    columnGap: theme.spacing(1.25),
    '@container (max-width: 1230px)': {
      gridTemplateColumns: NARROW,
      minWidth: 1080,
      [SPARE.map((i) => `& > :nth-of-type(${i + 1})`).join(', ')]: { display: 'none' },
    },
    alignItems: 'center',
    padding: theme.spacing(0, 1.5),
    '& > div': { minWidth: 0 },
  }),
  head: css({
    position: 'sticky',
    top: 0,
    zIndex: 2,
    height: 34,
    color: theme.colors.text.secondary,
    background: theme.colors.background.secondary,
    borderBottom: `1px solid ${theme.colors.border.weak}`,
  }),
  sort: css({
    background: 'none',
    border: 0,
    padding: 0,
    font: 'inherit',
    color: 'inherit',
    whiteSpace: 'nowrap',
    '&:hover': { color: theme.colors.text.primary },
  }),
  body: css({
    position: 'absolute',
    left: 0,
    right: 0,
    height: ROW_HEIGHT,
    borderBottom: `1px solid ${theme.colors.border.weak}`,
    borderLeft: '3px solid transparent',
    paddingLeft: `calc(${theme.spacing(1.5)} - 3px)`,
    '&:hover': { background: theme.colors.action.hover },
    '&[aria-selected=true]': { background: theme.colors.action.selected },
    '&[data-active=true]': { borderLeftColor: theme.colors.primary.main, background: theme.colors.action.focus },
    '&[data-state=closed] a': { color: theme.colors.text.secondary },
  }),
  two: css({
    display: 'flex',
    flexDirection: 'column',
    lineHeight: 1.3,
    '& > *': { overflow: 'hidden', textOverflow: 'ellipsis', whiteSpace: 'nowrap' },
  }),
  cut: css({ overflow: 'hidden', textOverflow: 'ellipsis', whiteSpace: 'nowrap' }),
  title: css({
    color: theme.colors.text.primary,
    fontSize: theme.typography.body.fontSize,
    '&:hover': { textDecoration: 'underline' },
  }),
  sub: css({ color: theme.colors.text.secondary, fontSize: 11 }),
  number: css({ fontVariantNumeric: 'tabular-nums' }),
  state: css({
    display: 'inline-flex',
    alignItems: 'center',
    gap: 4,
    color: theme.colors.text.secondary,
    '&[data-state=open]': { color: theme.colors.text.primary, fontWeight: theme.typography.fontWeightMedium },
  }),
  views: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(0.5) }),
  view: css({
    display: 'inline-flex',
    alignItems: 'center',
    '& > button:first-of-type': {
      background: 'none',
      border: 0,
      borderBottom: '2px solid transparent',
      color: theme.colors.text.secondary,
      padding: theme.spacing(0.5, 1),
      '&:hover': { color: theme.colors.text.primary },
      '&[aria-current=page]': { color: theme.colors.text.primary, borderBottomColor: theme.colors.warning.border },
    },
  }),
  keys: css({
    display: 'grid',
    gridTemplateColumns: '100px 1fr',
    gap: theme.spacing(1),
    margin: 0,
    '& kbd': {
      marginRight: 4,
      padding: '1px 7px',
      border: `1px solid ${theme.colors.border.medium}`,
      borderRadius: 3,
      background: theme.colors.background.secondary,
      color: theme.colors.text.primary,
    },
    '& dd': { margin: 0 },
  }),
});
