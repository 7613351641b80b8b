import React, { useState } from 'react';
import { type DataSourceInstanceSettings, type DataSourcePluginMeta, PluginType } from '@grafana/data';
import { Field } from '@grafana/ui';
import { AstrayDataSource } from '../src/astray-datasource/datasource';
import { QueryEditor } from '../src/astray-datasource/QueryEditor';
import { type AstrayOptions, type AstrayQuery } from '../src/astray-datasource/types';
import { ConfigEditor } from '../src/astray-datasource/ConfigEditor';

export const settings = {
  id: 1,
  uid: 'astray',
  type: 'astray-datasource',
  name: 'Astray',
  access: 'proxy',
  readOnly: false,
  jsonData: {},
  meta: { id: 'astray-datasource', type: PluginType.datasource, name: 'Astray' } as DataSourcePluginMeta,
} as DataSourceInstanceSettings<AstrayOptions>;

/** The query editor with the query it makes, and the configuration editor. */
export default function QueryEditorPage() {
  const [datasource] = useState(() => new AstrayDataSource(settings));
  const [query, setQuery] = useState<AstrayQuery>({ refId: 'A', queryType: 'alerts' });
  const [options, setOptions] = useState({
    jsonData: {},
    secureJsonFields: {},
    secureJsonData: {},
  } as React.ComponentProps<typeof ConfigEditor>['options']);
  return (
    <>
      <h1>Query editor</h1>
      <QueryEditor datasource={datasource} query={query} onChange={setQuery} onRunQuery={() => undefined} />
      <Field label="The query">
        <pre data-testid="query">{JSON.stringify(query)}</pre>
      </Field>
      <h2>Data source</h2>
      <ConfigEditor options={options} onOptionsChange={(o) => setOptions(o as typeof options)} />
    </>
  );
}
