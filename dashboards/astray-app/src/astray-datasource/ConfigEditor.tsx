import React from 'react';
import { type DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Field, Input, RadioButtonGroup, SecretInput, Switch, TextArea } from '@grafana/ui';
import { type AstrayOptions, type AstraySecrets } from './types';

/** Where the ClickHouse is that `astray run` writes. */
export function ConfigEditor({
  options,
  onOptionsChange,
}: DataSourcePluginOptionsEditorProps<AstrayOptions, AstraySecrets>) {
  const { jsonData, secureJsonFields, secureJsonData } = options;
  const set = (change: Partial<AstrayOptions>) => onOptionsChange({ ...options, jsonData: { ...jsonData, ...change } });
  const text = (
    name: 'address' | 'database' | 'username',
    label: string,
    placeholder: string,
    description?: string
  ) => (
    <Field label={label} htmlFor={`ds-${name}`} description={description}>
      <Input
        id={`ds-${name}`}
        width={40}
        value={jsonData[name] ?? ''}
        placeholder={placeholder}
        onChange={(e) => set({ [name]: e.currentTarget.value })}
      />
    </Field>
  );
  return (
    <>
      {text('address', 'Address', '127.0.0.1:9000', 'host:port')}
      <Field label="Protocol">
        <RadioButtonGroup
          options={[
            { value: 'native' as const, label: 'Native' },
            { value: 'http' as const, label: 'HTTP' },
          ]}
          value={jsonData.protocol ?? 'native'}
          onChange={(protocol) => set({ protocol })}
        />
      </Field>
      {text('database', 'Database', 'default')}
      {text('username', 'User', 'analyst', 'The analyst role: reads everything, appends triage actions')}
      <Field label="Password" htmlFor="ds-password">
        <SecretInput
          id="ds-password"
          width={40}
          isConfigured={Boolean(secureJsonFields?.password)}
          value={secureJsonData?.password ?? ''}
          autoComplete="new-password"
          onReset={() =>
            onOptionsChange({
              ...options,
              secureJsonFields: { ...secureJsonFields, password: false },
              secureJsonData: { password: '' },
            })
          }
          onChange={(e) => onOptionsChange({ ...options, secureJsonData: { password: e.currentTarget.value } })}
        />
      </Field>
      <Field label="TLS" htmlFor="ds-tls">
        <Switch id="ds-tls" value={jsonData.tls ?? false} onChange={(e) => set({ tls: e.currentTarget.checked })} />
      </Field>
      {jsonData.tls && (
        <>
          <Field label="Certificate authority" htmlFor="ds-ca" description="PEM; empty takes the system’s">
            <TextArea
              id="ds-ca"
              cols={60}
              rows={4}
              value={jsonData.tlsCA ?? ''}
              onChange={(e) => set({ tlsCA: e.currentTarget.value })}
            />
          </Field>
          <Field
            label="Do not verify the certificate"
            htmlFor="ds-skip"
            description="Only on loopback: anybody in between could answer"
          >
            <Switch
              id="ds-skip"
              value={jsonData.tlsSkipVerify ?? false}
              onChange={(e) => set({ tlsSkipVerify: e.currentTarget.checked })}
            />
          </Field>
        </>
      )}
      <Field label="Time-out of a query, in seconds" htmlFor="ds-timeout">
        <Input
          id="ds-timeout"
          width={12}
          type="number"
          min={1}
          max={300}
          value={jsonData.timeoutSeconds ?? 30}
          onChange={(e) => set({ timeoutSeconds: Number(e.currentTarget.value) })}
        />
      </Field>
    </>
  );
}
