import { type Range, type Row, type State } from '../../api';
import { RANK, type Severity } from '../../severities';

/** What the queue shows and in which order; all of it is in the URL, so that a view can be sent to a colleague. */
export interface View {
  range: string;
  state: State[];
  severity: Severity[];
  detector: string[];
  cohort: string[];
  /** '' anyone, '-' nobody, else a login. */
  assignee: string;
  text: string;
  sort: SortKey;
  ascending: boolean;
  suppressed: boolean;
}

export type SortKey =
  'severity' | 'last_seen' | 'first_seen' | 'confidence' | 'entity' | 'detector' | 'state' | 'assignee' | 'score';

export const RANGES: Array<{ value: string; label: string; hours: number }> = [
  { value: '1h', label: 'Last hour', hours: 1 },
  { value: '24h', label: 'Last 24 hours', hours: 24 },
  { value: '7d', label: 'Last 7 days', hours: 7 * 24 },
  { value: '30d', label: 'Last 30 days', hours: 30 * 24 },
  { value: '1y', label: 'Last 365 days', hours: 365 * 24 },
];

export const DEFAULT_VIEW: View = {
  range: '7d',
  state: ['open', 'acknowledged'],
  severity: [],
  detector: [],
  cohort: [],
  assignee: '',
  text: '',
  sort: 'severity',
  ascending: false,
  suppressed: false,
};

const list = <T extends string>(value: string | null, otherwise: T[]): T[] =>
  value === null ? otherwise : (value.split(',').filter(Boolean).map(decodeURIComponent) as T[]);

export function viewFrom(search: URLSearchParams): View {
  const sort = search.get('sort') ?? '';
  return {
    range: RANGES.some((r) => r.value === search.get('range')) ? search.get('range')! : DEFAULT_VIEW.range,
    state: list<State>(search.get('state'), DEFAULT_VIEW.state),
    severity: list<Severity>(search.get('severity'), []),
    detector: list(search.get('detector'), []),
    cohort: list(search.get('cohort'), []),
    assignee: search.get('assignee') ?? '',
    text: search.get('q') ?? '',
    sort: (sort.replace(/^[+-]/, '') || DEFAULT_VIEW.sort) as SortKey,
    ascending: sort.startsWith('+'),
    suppressed: search.get('suppressed') === '1',
  };
}

export function searchFrom(view: View): URLSearchParams {
  const search = new URLSearchParams();
  const put = (key: string, value: string, standard: string) => value !== standard && search.set(key, value);
  const join = (values: string[]) => values.map(encodeURIComponent).join(',');
  put('range', view.range, DEFAULT_VIEW.range);
  put('state', join(view.state), join(DEFAULT_VIEW.state));
  put('severity', join(view.severity), '');
  put('detector', join(view.detector), '');
  put('cohort', join(view.cohort), '');
  put('assignee', view.assignee, '');
  put('q', view.text, '');
  put('sort', (view.ascending ? '+' : '-') + view.sort, `-${DEFAULT_VIEW.sort}`);
  put('suppressed', view.suppressed ? '1' : '', '');
  return search;
}

export const hoursOf = (range: string) => (RANGES.find((r) => r.value === range) ?? RANGES[2]).hours;

/** Rounded to a minute, so that going on with the same view asks the same question. */
export function rangeOf(view: View, now: number): Range {
  const hours = hoursOf(view.range);
  const to = Math.ceil(now / 60000) * 60000 + 24 * 3600_000;
  return { from: Math.floor(now / 60000) * 60000 - hours * 3600_000, to };
}

export function matches(row: Row, view: View): boolean {
  const among = <T>(values: T[], value: T) => values.length === 0 || values.includes(value);
  const needle = view.text.trim().toLowerCase();
  return (
    among(view.state, row.state) &&
    among(view.severity, row.severity) &&
    among(view.detector, row.detector) &&
    among(view.cohort, row.cohort) &&
    (view.suppressed || !row.suppressed) &&
    (view.assignee === '' || (view.assignee === '-' ? row.assignee === '' : row.assignee === view.assignee)) &&
    (needle === '' ||
      row.title.toLowerCase().includes(needle) ||
      row.entity_id.toLowerCase().includes(needle) ||
      row.id === needle)
  );
}

const STATES: Record<State, number> = { open: 2, acknowledged: 1, closed: 0 };

function compare(a: Row, b: Row, key: SortKey): number {
  switch (key) {
    case 'severity':
      return (
        RANK[a.severity] - RANK[b.severity] || STATES[a.state] - STATES[b.state] || byText(a.last_seen, b.last_seen)
      );
    case 'confidence':
      return a.confidence - b.confidence;
    case 'score':
      return a.score - b.score;
    case 'state':
      return STATES[a.state] - STATES[b.state];
    case 'entity':
      return byText(b.entity_id, a.entity_id);
    case 'detector':
      return byText(b.detector, a.detector);
    case 'assignee':
      return byText(b.assignee, a.assignee);
    default:
      return byText(a[key], b[key]);
  }
}

const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** The ids in view, in order. Ties are broken by time and id, so that the order is always the same. */
export function ordered(rows: Iterable<Row>, view: View): string[] {
  const direction = view.ascending ? 1 : -1;
  return Array.from(rows)
    .filter((row) => matches(row, view))
    .sort((a, b) => direction * compare(a, b, view.sort) || byText(b.last_seen, a.last_seen) || byText(a.id, b.id))
    .map((row) => row.id);
}

export interface SavedView {
  name: string;
  search: string;
}

const KEY = 'astray.views';

export const BUILT_IN: SavedView[] = [
  { name: 'Queue', search: '' },
  { name: 'Critical and high', search: 'severity=critical,high' },
  { name: 'Nobody’s', search: 'assignee=-' },
  { name: 'Closed', search: 'state=closed&sort=-last_seen' },
];

export function savedViews(): SavedView[] {
  try {
    const views = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(views)
      ? views.filter((v) => typeof v?.name === 'string' && typeof v?.search === 'string').slice(0, 50)
      : [];
  } catch {
    return [];
  }
}

export function saveViews(views: SavedView[]) {
  localStorage.setItem(KEY, JSON.stringify(views));
}
