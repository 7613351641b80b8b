import { type DataSourceJsonData } from '@grafana/data';
import { type DataQuery } from '@grafana/schema';
import { type ConnectionSettings } from '../components/Connection';

export type QueryType = 'alerts' | 'events' | 'rate' | 'distinct' | 'entities' | 'graph' | 'blast' | 'health';

export interface Filter {
  key: string;
  op: string;
  value: string;
}

/** A question to Astray, as the backend reads it. Values are bound there; nothing of it becomes SQL text. */
export interface AstrayQuery extends DataQuery {
  queryType?: QueryType;
  kind?: string;
  id?: string;
  agent?: string;
  detector?: string[];
  severity?: string[];
  state?: string[];
  cohort?: string[];
  feature?: string;
  by?: 'alerts' | 'volume';
  format?: 'table' | 'count';
  metric?: string;
  olderThanSeconds?: number;
  filters?: Filter[];
  limit?: number;
  /** New alerts come by themselves, through Grafana Live. */
  stream?: boolean;
}

export const DEFAULT_QUERY: Partial<AstrayQuery> = {
  queryType: 'alerts',
  state: ['open', 'acknowledged'],
  limit: 1000,
};

export interface AstrayOptions extends DataSourceJsonData, ConnectionSettings {
  alertBudget?: number;
}

export interface AstraySecrets {
  password?: string;
}

/** Which list a template variable shows. */
export interface VariableQuery extends AstrayQuery {
  of?: string;
}
