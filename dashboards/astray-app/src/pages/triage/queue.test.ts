import { type Row } from '../../api';
import { DEFAULT_VIEW, matches, ordered, searchFrom, type View, viewFrom } from './queue';

const row = (change: Partial<Row>): Row => ({
  id: 'a',
  time: '2026-01-01T00:00:00Z',
  first_seen: '2026-01-01T00:00:00Z',
  last_seen: '2026-01-01T01:00:00Z',
  detector: 'burst',
  entity_kind: 'agent',
  entity_id: 'agent-1',
  agent_ids: ['agent-1'],
  cohort: 'c',
  severity: 'low',
  severity_detected: 'low',
  confidence: 0.9,
  score: 5,
  p_value: 1e-5,
  title: 'Title',
  state: 'open',
  assignee: '',
  verdict: '',
  event_count: 1,
  acted_at: '',
  suppressed: false,
  feature: 'f',
  observed: 1,
  expected: 1,
  lower: 0,
  upper: 2,
  ...change,
});

describe('view', () => {
  it('goes into the address and comes back', () => {
    const view: View = {
      ...DEFAULT_VIEW,
      range: '1y',
      state: ['closed'],
      severity: ['high', 'low'],
      detector: ['a,b', 'ü&='],
      cohort: ['x'],
      assignee: '-',
      text: 'what & why',
      sort: 'last_seen',
      ascending: true,
      suppressed: true,
    };
    expect(viewFrom(new URLSearchParams(searchFrom(view).toString()))).toEqual(view);
  });

  it('is empty in the address when it is the standard one', () => {
    expect(searchFrom(DEFAULT_VIEW).toString()).toBe('');
    expect(viewFrom(new URLSearchParams(''))).toEqual(DEFAULT_VIEW);
  });

  it('keeps "any state" apart from the standard', () => {
    const any = { ...DEFAULT_VIEW, state: [] };
    expect(viewFrom(searchFrom(any)).state).toEqual([]);
  });
});

describe('queue', () => {
  it('hides closed and suppressed alerts unless asked', () => {
    expect(matches(row({ state: 'closed' }), DEFAULT_VIEW)).toBe(false);
    expect(matches(row({ suppressed: true }), DEFAULT_VIEW)).toBe(false);
    expect(matches(row({ suppressed: true }), { ...DEFAULT_VIEW, suppressed: true })).toBe(true);
  });

  it('puts the worst first, the newer of equals before the older, always in the same order', () => {
    const rows = [
      row({ id: 'old', severity: 'high', last_seen: '2026-01-01T00:00:00Z' }),
      row({ id: 'low' }),
      row({ id: 'new', severity: 'high', last_seen: '2026-01-02T00:00:00Z' }),
      row({ id: 'worst', severity: 'critical' }),
    ];
    expect(ordered(rows, DEFAULT_VIEW)).toEqual(['worst', 'new', 'old', 'low']);
    expect(ordered(rows.reverse(), DEFAULT_VIEW)).toEqual(['worst', 'new', 'old', 'low']);
  });

  it('searches text as text', () => {
    expect(matches(row({ title: 'a.b' }), { ...DEFAULT_VIEW, text: '.*' })).toBe(false);
    expect(matches(row({ entity_id: 'Agent[7' }), { ...DEFAULT_VIEW, text: 'agent[7' })).toBe(true);
  });
});
