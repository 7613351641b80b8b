import { useCallback, useEffect, useState } from 'react';

export interface Loaded<T> {
  data?: T;
  error?: string;
  loading: boolean;
  reload: () => void;
}

/** Loads when a dependency changes, forgets answers that come too late, and keeps the last data while it reloads. */
export function useLoad<T>(load: () => Promise<T>, deps: React.DependencyList): Loaded<T> {
  const [state, setState] = useState<{ data?: T; error?: string; loading: boolean }>({ loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let gone = false;
    setState((s) => ({ ...s, loading: true }));
    load().then(
      (data) => !gone && setState({ data, loading: false }),
      (e: unknown) =>
        !gone && setState((s) => ({ ...s, error: e instanceof Error ? e.message : String(e), loading: false }))
    );
    return () => {
      gone = true;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the caller names what the request depends on
  }, [...deps, turn]);
  return { ...state, reload: useCallback(() => setTurn((t) => t + 1), []) };
}
