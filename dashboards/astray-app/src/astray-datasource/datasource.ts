import {
  type AdHocVariableFilter,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceInstanceSettings,
  LiveChannelScope,
  type MetricFindValue,
  type ScopedVars,
  type TimeRange,
} from '@grafana/data';
import { DataSourceWithBackend, getGrafanaLiveSrv, getTemplateSrv, type TemplateSrv } from '@grafana/runtime';
import { merge, type Observable } from 'rxjs';
import { type AstrayOptions, type AstrayQuery, DEFAULT_QUERY, type Filter } from './types';
import { AstrayVariables } from './variables';

export const FILTER_KEYS = [
  'action',
  'access',
  'service',
  'resource',
  'destination',
  'credential_id',
  'source_ip',
  'status',
  'cohort',
  'kind',
  'session_id',
  'owner_id',
  'user_agent',
  'community',
  'agent_id',
];

export class AstrayDataSource extends DataSourceWithBackend<AstrayQuery, AstrayOptions> {
  constructor(
    settings: DataSourceInstanceSettings<AstrayOptions>,
    private readonly templates: TemplateSrv = getTemplateSrv()
  ) {
    super(settings);
    this.variables = new AstrayVariables(this);
    this.annotations = {
      getDefaultQuery: () =>
        ({ queryType: 'alerts', state: [], severity: ['critical', 'high'], limit: 200 }) as Partial<AstrayQuery>,
    };
  }

  getDefaultQuery(): Partial<AstrayQuery> {
    return DEFAULT_QUERY;
  }

  /** A question that names nobody where somebody must be named is not sent: the panel says nothing rather than an error. */
  filterQuery(query: AstrayQuery): boolean {
    const needsEntity = ['rate', 'distinct', 'graph', 'blast'].includes(query.queryType ?? '');
    const named = this.templates.replace(query.agent ?? '') || this.templates.replace(query.id ?? '');
    return !query.hide && (!needsEntity || named !== '');
  }

  applyTemplateVariables(query: AstrayQuery, scopedVars: ScopedVars, adhoc?: AdHocVariableFilter[]): AstrayQuery {
    const one = (value?: string) => (value === undefined ? undefined : this.templates.replace(value, scopedVars));
    // A variable with several values becomes several values, each as it is: the "json" format keeps commas apart.
    const many = (values?: string[]) => values?.flatMap((value) => this.expand(value, scopedVars)).filter(Boolean);
    const filters: Filter[] = [
      ...(query.filters ?? []).map((f) => ({ ...f, value: one(f.value) ?? '' })),
      ...(adhoc ?? []).map((f) => ({ key: f.key, op: f.operator, value: f.value })),
    ];
    return {
      ...query,
      agent: one(query.agent),
      id: one(query.id),
      kind: one(query.kind),
      feature: one(query.feature),
      detector: many(query.detector),
      severity: many(query.severity),
      state: many(query.state),
      cohort: many(query.cohort),
      filters,
    };
  }

  private expand(value: string, scopedVars: ScopedVars): string[] {
    if (!value.includes('$')) {
      return [value];
    }
    const text = this.templates.replace(value, scopedVars, (v: string | string[]) =>
      JSON.stringify(Array.isArray(v) ? v : [v])
    );
    try {
      const values: unknown = JSON.parse(text);
      return Array.isArray(values) ? values.map(String).filter((v) => v !== '$__all') : [text];
    } catch {
      return [text];
    }
  }

  query(request: DataQueryRequest<AstrayQuery>): Observable<DataQueryResponse> {
    const answer = super.query(request);
    const streamed = request.targets.filter(
      (t) => t.stream && (t.queryType ?? 'alerts') === 'alerts' && this.filterQuery(t)
    );
    if (streamed.length === 0) {
      return answer;
    }
    return merge(
      answer,
      ...streamed.map((target) =>
        getGrafanaLiveSrv().getDataStream({
          addr: { scope: LiveChannelScope.DataSource, stream: this.uid, path: 'alerts' },
          key: `${request.requestId}.${target.refId}`,
          buffer: { maxLength: target.limit ?? 1000 },
        })
      )
    );
  }

  async values(of: string, q = '', range?: TimeRange): Promise<string[]> {
    const span = range && { from: range.from.valueOf(), to: range.to.valueOf() };
    const answer: { values?: string[] } = await this.getResource('values', { of, q, ...span });
    return answer.values ?? [];
  }

  async getTagKeys(): Promise<MetricFindValue[]> {
    return FILTER_KEYS.map((text) => ({ text, value: text }));
  }

  async getTagValues(options: { key: string; timeRange?: TimeRange }): Promise<MetricFindValue[]> {
    const lists: Record<string, string> = {
      action: 'actions',
      agent_id: 'agents',
      cohort: 'cohorts',
      credential_id: 'credentials',
      destination: 'destinations',
      service: 'services',
      source_ip: 'sources',
    };
    const of = lists[options.key];
    return of ? (await this.values(of, '', options.timeRange)).map((text) => ({ text, value: text })) : [];
  }
}
