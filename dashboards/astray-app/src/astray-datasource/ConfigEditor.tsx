import React from 'react';
import { type DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Connection } from '../components/Connection';
import { type AstrayOptions, type AstraySecrets } from './types';

/** Where the ClickHouse is that `astray run` writes. */
export function ConfigEditor({
  options,
  onOptionsChange,
}: DataSourcePluginOptionsEditorProps<AstrayOptions, AstraySecrets>) {
  const { jsonData, secureJsonFields, secureJsonData } = options;
  return (
    <Connection
      prefix="ds"
      settings={jsonData}
      onChange={(change) => onOptionsChange({ ...options, jsonData: { ...jsonData, ...change } })}
      kept={Boolean(secureJsonFields?.password)}
      password={secureJsonData?.password ?? ''}
      onPassword={(password) => onOptionsChange({ ...options, secureJsonData: { password } })}
      onReset={() =>
        onOptionsChange({
          ...options,
          secureJsonFields: { ...secureJsonFields, password: false },
          secureJsonData: { password: '' },
        })
      }
    />
  );
}
