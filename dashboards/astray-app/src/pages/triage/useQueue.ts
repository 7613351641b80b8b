import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api, type Range, type Row } from '../../api';
import { matches, ordered, type View } from './queue';

const POLL_MS = 3000;

/**
 * The queue's rows. What others do to a row shows in it at once; a row never moves or comes in by itself: new ones
 * wait until the analyst asks for them, so that nothing jumps under the cursor.
 */
export function useQueue(range: Range, view: View) {
  const rows = useRef(new Map<string, Row>());
  const cursor = useRef('');
  const span = useRef(range);
  span.current = range;
  const [turn, setTurn] = useState(0); // a new order is due
  const [patch, setPatch] = useState(0); // contents changed, the order stays
  const [state, setState] = useState({ loading: true, error: '', truncated: false, total: 0 });
  const [reloads, setReloads] = useState(0);

  useEffect(() => {
    let gone = false;
    setState((s) => ({ ...s, loading: true, error: '' }));
    api.alerts(range).then(
      (answer) => {
        if (gone) {
          return;
        }
        rows.current = new Map(answer.alerts.map((row) => [row.id, row]));
        cursor.current = answer.cursor;
        setState({ loading: false, error: '', truncated: answer.truncated, total: answer.total });
        setTurn((t) => t + 1);
      },
      (e: Error) => !gone && setState((s) => ({ ...s, loading: false, error: e.message }))
    );
    return () => {
      gone = true;
    };
  }, [range.from, range.to, reloads]); // eslint-disable-line react-hooks/exhaustive-deps

  const take = useCallback((changed: Row[], reorder: boolean) => {
    changed.forEach((row) => rows.current.set(row.id, row));
    if (changed.length > 0) {
      reorder ? setTurn((t) => t + 1) : setPatch((p) => p + 1);
    }
  }, []);

  useEffect(() => {
    let gone = false;
    let timer: ReturnType<typeof setTimeout>;
    const poll = async () => {
      if (cursor.current && !document.hidden) {
        try {
          const answer = await api.changes(cursor.current);
          if (!gone) {
            cursor.current = answer.cursor;
            // What changed may lie outside the time that is looked at.
            const { from, to } = span.current;
            const inside = (row: Row) => Date.parse(row.last_seen) >= from && Date.parse(row.first_seen) <= to;
            take(
              answer.alerts.filter((row) => rows.current.has(row.id) || inside(row)),
              false
            );
          }
        } catch {
          // The next turn tries again; the page goes on showing what it has.
        }
      }
      if (!gone) {
        timer = setTimeout(poll, POLL_MS);
      }
    };
    timer = setTimeout(poll, POLL_MS);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [take]);

  const viewKey = JSON.stringify(view);
  // eslint-disable-next-line react-hooks/exhaustive-deps -- turn stands for the rows
  const order = useMemo(() => ordered(rows.current.values(), view), [viewKey, turn]);
  const arrived = useMemo(() => {
    const shown = new Set(order);
    let n = 0;
    rows.current.forEach((row) => !shown.has(row.id) && matches(row, view) && n++);
    return n;
  }, [order, patch]); // eslint-disable-line react-hooks/exhaustive-deps

  return {
    rows: rows.current,
    order,
    arrived,
    ...state,
    take,
    show: useCallback(() => setTurn((t) => t + 1), []),
    reload: useCallback(() => setReloads((r) => r + 1), []),
  };
}

/** Sparklines of the rows in sight, asked for in batches and kept. */
export function useSparklines(ids: string[]) {
  const known = useRef(new Map<string, Awaited<ReturnType<typeof api.sparklines>>['sparklines'][string] | undefined>());
  const [, setTurn] = useState(0);
  const key = ids.join(' ');
  useEffect(() => {
    const timer = setTimeout(() => {
      const missing = ids.filter((id) => !known.current.has(id)).slice(0, 100);
      if (missing.length === 0) {
        return;
      }
      missing.forEach((id) => known.current.set(id, undefined));
      api.sparklines(missing).then(
        ({ sparklines }) => {
          Object.entries(sparklines).forEach(([id, line]) => known.current.set(id, line));
          setTurn((t) => t + 1);
        },
        () => missing.forEach((id) => known.current.delete(id))
      );
    }, 80); // a fast scroll asks once, where it ends
    return () => clearTimeout(timer);
  }, [key]); // eslint-disable-line react-hooks/exhaustive-deps
  return known.current;
}
