import { api, type FleetNow } from '../../api';

export const HOUR = 3600_000;

export interface Lately {
  fleet: FleetNow;
  /** The newest event, where the last hours hold none and those up to it are shown instead. */
  upTo?: string;
}

/** What the fleet did in the last hours, or, where it did nothing at all, in the same hours up to its newest event. */
export async function lately(hours: number, now: number): Promise<Lately> {
  const fleet = await api.fleet({ from: now - hours * HOUR, to: now });
  if (fleet.active_agents > 0 || !fleet.newest) {
    return { fleet };
  }
  const to = Date.parse(fleet.newest) + 1;
  return { fleet: await api.fleet({ from: to - hours * HOUR, to }), upTo: fleet.newest };
}
