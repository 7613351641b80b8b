import React from 'react';
import {
  CustomVariableSupport,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceApi,
  FieldType,
  type QueryEditorProps,
  type TimeRange,
  toDataFrame,
} from '@grafana/data';
import { Combobox, InlineField } from '@grafana/ui';
import { from, map, type Observable } from 'rxjs';
import { type AstrayOptions, type AstrayQuery, type VariableQuery } from './types';

type Source = DataSourceApi<AstrayQuery, AstrayOptions>;
type Props = QueryEditorProps<Source, AstrayQuery, AstrayOptions, VariableQuery>;

const LISTS = ['agents', 'detectors', 'cohorts', 'severities', 'features'].map((value) => ({ value, label: value }));

export function VariableEditor({ query, onChange }: Pick<Props, 'query' | 'onChange'>) {
  return (
    <InlineField label="Values" labelWidth={16} tooltip="Which list the variable offers">
      <Combobox
        width={30}
        options={LISTS}
        value={query.of ?? 'agents'}
        onChange={(o) => onChange({ ...query, refId: 'variable', of: o.value })}
      />
    </InlineField>
  );
}

interface Lists {
  values(of: string, q?: string, range?: TimeRange): Promise<string[]>;
}

/** Template variables: the agents, detectors, cohorts, severities and features that the database knows. */
export class AstrayVariables extends CustomVariableSupport<Source, VariableQuery, AstrayQuery, AstrayOptions> {
  editor = VariableEditor;

  constructor(private readonly source: Lists) {
    super();
  }

  query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    return from(this.source.values(request.targets[0]?.of ?? 'agents', '', request.range)).pipe(
      map((values) => ({ data: [toDataFrame({ fields: [{ name: 'text', type: FieldType.string, values }] })] }))
    );
  }

  getDefaultQuery(): Partial<AstrayQuery> & { of: string } {
    return { refId: 'variable', of: 'agents' };
  }
}
