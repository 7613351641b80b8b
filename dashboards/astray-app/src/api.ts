import { getBackendSrv } from '@grafana/runtime';
import { lastValueFrom } from 'rxjs';
import { PLUGIN_ID } from './constants';
import { type Severity } from './severities';

/** The plugin backend's resources: shapes as `cmd/gpx_astray` writes them. Times are RFC 3339, in UTC. */

export type State = 'open' | 'acknowledged' | 'closed';
export type Verdict = 'true' | 'benign' | 'unsure';
export type EntityKind = 'agent' | 'credential' | 'source' | 'template';

export interface Analyst {
  login: string;
  role: string;
  can_triage: boolean;
  can_admin: boolean;
}

export interface Row {
  id: string;
  time: string;
  first_seen: string;
  last_seen: string;
  detector: string;
  entity_kind: EntityKind;
  entity_id: string;
  agent_ids: string[];
  cohort: string;
  severity: Severity;
  severity_detected: Severity;
  confidence: number;
  score: number;
  p_value: number;
  title: string;
  state: State;
  assignee: string;
  verdict: string;
  event_count: number;
  acted_at: string;
  suppressed: boolean;
  feature: string;
  observed: number;
  expected: number;
  lower: number;
  upper: number;
}

export interface Evidence {
  feature: string;
  observed: number;
  expected: number;
  lower: number;
  upper: number;
  p_value: number;
  window_seconds: number;
  /** The part of the alert's score; the parts sum to it. */
  contribution: number;
}

export interface Technique {
  framework: string;
  version: string;
  id: string;
  name: string;
}

export interface AlertDetail extends Row {
  reason: string;
  evidence: Evidence[];
  event_ids: string[];
  techniques: Technique[];
  query: string;
  detector_version: string;
  baseline_version: string;
}

export interface Action {
  id: string;
  time: string;
  who: string;
  action: string;
  value: string;
  why: string;
}

export interface Sparkline {
  values: number[];
  expected: number;
  lower: number;
  upper: number;
  window_seconds: number;
}

export interface ChartPoint {
  t: string;
  observed: number;
  expected: number;
  lower: number;
  upper: number;
}

export interface Chart {
  feature: string;
  unit: string;
  window_seconds: number;
  /** False: no baseline is stored for the feature, so there is no band to draw. */
  banded?: boolean;
  points: ChartPoint[];
  marked: { from: string; to: string };
}

export type AgentEvent = Record<string, unknown> & { id: string; time: string };

export interface TimelineItem {
  time: string;
  kind: string;
  action: string;
  access: string;
  service: string;
  resource: string;
  destination: string;
  status: number;
  credential_id: string;
  source_ip: string;
  id: string;
  alert: string;
}

export interface GraphNode {
  id: string;
  kind: string;
  name: string;
  events: number;
  alerts: number;
  main: boolean;
}

export interface Graph {
  nodes: GraphNode[];
  edges: Array<{ source: string; target: string; events: number }>;
}

export interface BlastRadius {
  services: Array<{
    service: string;
    access: string;
    events: number;
    resources: number;
    destinations: number;
    credentials: string[];
    sent: number;
    received: number;
    first_seen: string;
    last_seen: string;
  }>;
  credentials: Array<{
    credential_id: string;
    agents: Array<{ agent_id: string; events: number; first_seen: string; last_seen: string }>;
    sources: string[];
  }>;
  totals: {
    events: number;
    resources_read: number;
    resources_written: number;
    destinations: number;
    sent: number;
    received: number;
  };
}

export interface SuppressionDraft {
  detector: string;
  entity_kind: string;
  entity_id: string;
  pattern: string;
  until: string;
  why: string;
}

export interface Suppression extends SuppressionDraft {
  id: string;
  time: string;
  who: string;
  removed: boolean;
}

export interface SuppressionPreview {
  hidden: number;
  open: number;
  days: number;
  sample: Row[];
}

export interface Entity {
  kind: EntityKind;
  id: string;
  owner_ids: string[];
  cohorts: string[];
  versions: Array<{ version: string; first_seen: string; last_seen: string; events: number }>;
  credentials: Array<{ id: string; events: number; last_seen: string }>;
  networks: Array<{ source_ip: string; asn: number; events: number; last_seen: string }>;
  user_agents: Array<{ value: string; events: number }>;
  first_seen: string;
  last_seen: string;
  events: number;
  alerts: Row[];
  /** Events by day of week (Monday first) and hour, UTC. */
  heat: number[][];
  services: Array<{ service: string; access: string; events: number }>;
  peers: Array<{ kind: string; id: string; events: number }>;
  baselines: Array<{
    feature: string;
    window_seconds: number;
    expected: number;
    lower: number;
    upper: number;
    unit: string;
    current: number;
  }>;
}

export interface FleetNow {
  events_per_second: number;
  active_agents: number;
  new_agents: number;
  open_alerts: number;
  rate: Array<{ t: string; events: number }>;
  by_detector: Array<{ detector: string; low: number; medium: number; high: number; critical: number }>;
  budget: { set: number; used: number; agent_days: number };
  movers: Array<{ agent_id: string; cohort: string; now: number; before: number; alerts: number }>;
  campaigns: Array<{
    name: string;
    /** The first of them; `count` says how many there are. */
    alerts: string[];
    count: number;
    agents: number;
    first_seen: string;
    last_seen: string;
    severity: Severity;
  }>;
  pipeline: { lag_seconds: number; freshness_seconds: number; dead_letters: number; late: number };
  /** Of the newest event there is, where the time asked about holds none; '' where there is none at all. */
  newest: string;
}

export interface ConfigurationState {
  connection: { address: string; database: string; user: string; tls: boolean };
  schema: { version: number; expected: number };
  retention: Array<{ table: string; keep: string; rows: number; bytes: number; oldest: string }>;
  roles: Array<{ role: string; can: string[] }>;
}

export interface TestResult {
  ok: boolean;
  message: string;
  details: Array<{ check: string; ok: boolean; message: string }>;
}

export interface ActionResult {
  applied: Row[];
  failed: Array<{ id: string; error: string }>;
}

type Query = Record<string, string | number | undefined>;

const root = `/api/plugins/${PLUGIN_ID}/resources`;

async function call<T>(method: string, path: string, query?: Query, data?: unknown): Promise<T> {
  const params = new URLSearchParams();
  Object.entries(query ?? {}).forEach(
    ([k, v]) => v !== undefined && params.set(k, String(typeof v === 'number' ? Math.round(v) : v))
  );
  const search = params.toString();
  try {
    const response = await lastValueFrom(
      getBackendSrv().fetch<T>({
        method,
        url: `${root}/${path}${search ? `?${search}` : ''}`,
        data,
        showErrorAlert: false,
      })
    );
    return response.data;
  } catch (e) {
    throw new Error(readable(e));
  }
}

function readable(e: unknown): string {
  const failure = e as { status?: number; statusText?: string; data?: { error?: string; message?: string } };
  return (
    failure.data?.error ||
    failure.data?.message ||
    (failure.status === 404
      ? 'The backend does not know this address: is the plugin up to date?'
      : `The plugin backend did not answer (${failure.status ?? 'no connection'} ${failure.statusText ?? ''})`)
  );
}

export interface Range {
  from: number;
  to: number;
}

export const api = {
  me: () => call<Analyst>('GET', 'me'),
  alerts: (range: Range, limit = 20000) =>
    call<{ alerts: Row[]; total: number; truncated: boolean; cursor: string }>('GET', 'alerts', { ...range, limit }),
  changes: (cursor: string) => call<{ alerts: Row[]; cursor: string }>('GET', 'alerts/changes', { cursor }),
  sparklines: (ids: string[]) =>
    call<{ sparklines: Record<string, Sparkline> }>('POST', 'sparklines', undefined, { ids }),
  alert: (id: string) => call<{ alert: AlertDetail; actions: Action[] }>('GET', `alerts/${encodeURIComponent(id)}`),
  chart: (id: string, feature: string) => call<Chart>('GET', `alerts/${encodeURIComponent(id)}/chart`, { feature }),
  events: (id: string, limit = 200) =>
    call<{ events: AgentEvent[]; total: number }>('GET', `alerts/${encodeURIComponent(id)}/events`, { limit }),
  timeline: (agent: string, range: Range, limit = 500) =>
    call<{ items: TimelineItem[] }>('GET', 'timeline', { agent, ...range, limit }),
  graph: (kind: string, id: string, range: Range) => call<Graph>('GET', 'graph', { kind, id, ...range }),
  blast: (kind: string, id: string, range: Range) => call<BlastRadius>('GET', 'blast', { kind, id, ...range }),
  act: (ids: string[], action: string, value = '', why = '') =>
    call<ActionResult>('POST', 'actions', undefined, { ids, action, value, why }),
  suppressions: () => call<{ suppressions: Suppression[] }>('GET', 'suppressions'),
  suppress: (draft: SuppressionDraft) => call<{ id: string }>('POST', 'suppressions', undefined, draft),
  unsuppress: (id: string, why: string) => call<{}>('DELETE', `suppressions/${encodeURIComponent(id)}`, { why }),
  previewSuppression: (draft: SuppressionDraft) =>
    call<SuppressionPreview>('POST', 'suppressions/preview', undefined, draft),
  entity: (kind: string, id: string, range: Range) => call<Entity>('GET', 'entity', { kind, id, ...range }),
  fleet: (range: Range) => call<FleetNow>('GET', 'fleet', { ...range }),
  configuration: () => call<ConfigurationState>('GET', 'configuration'),
  test: () => call<TestResult>('POST', 'test'),
};
