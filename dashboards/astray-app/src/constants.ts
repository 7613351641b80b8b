import pluginJson from './plugin.json';

export const PLUGIN_ID = pluginJson.id;
export const PLUGIN_BASE_URL = `/a/${PLUGIN_ID}`;

export enum ROUTES {
  Triage = 'triage',
  Alert = 'alert',
  Entity = 'entity',
  Fleet = 'fleet',
  Configuration = 'configuration',
}

const withQuery = (route: ROUTES, query: Record<string, string>) => {
  const search = new URLSearchParams(query).toString();
  return `${PLUGIN_BASE_URL}/${route}${search ? `?${search}` : ''}`;
};

/** Paths of the app. Ids come from agents, so they are always encoded into the query, never into the path. */
export const paths = {
  triage: (query: Record<string, string> = {}) => withQuery(ROUTES.Triage, query),
  alert: (id: string) => withQuery(ROUTES.Alert, { id }),
  entity: (kind: string, id: string) => withQuery(ROUTES.Entity, { kind, id }),
  fleet: () => withQuery(ROUTES.Fleet, {}),
};
