import React from 'react';
import { Field, Input, RadioButtonGroup, SecretInput, Switch, TextArea } from '@grafana/ui';

/** How to reach the ClickHouse that `astray run` writes; the app and the datasource have one each. */
export interface ConnectionSettings {
  address?: string;
  protocol?: 'native' | 'http';
  database?: string;
  username?: string;
  tls?: boolean;
  tlsSkipVerify?: boolean;
  tlsCA?: string;
  timeoutSeconds?: number;
}

interface Props {
  /** Begins the ids of the fields. */
  prefix: string;
  settings: ConnectionSettings;
  onChange: (change: ConnectionSettings) => void;
  /** A password that Grafana keeps is not shown, and can be taken back. */
  kept: boolean;
  password: string;
  onPassword: (password: string) => void;
  onReset: () => void;
}

export function Connection({ prefix, settings, onChange, kept, password, onPassword, onReset }: Props) {
  const text = (
    name: 'address' | 'database' | 'username',
    label: string,
    placeholder: string,
    description?: string
  ) => (
    <Field label={label} htmlFor={`${prefix}-${name}`} description={description}>
      <Input
        id={`${prefix}-${name}`}
        width={40}
        value={settings[name] ?? ''}
        placeholder={placeholder}
        onChange={(e) => onChange({ [name]: e.currentTarget.value })}
      />
    </Field>
  );
  const either = (name: 'tls' | 'tlsSkipVerify', label: string, description?: string) => (
    <Field label={label} htmlFor={`${prefix}-${name}`} description={description}>
      <Switch
        id={`${prefix}-${name}`}
        value={settings[name] ?? false}
        onChange={(e) => onChange({ [name]: e.currentTarget.checked })}
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
          value={settings.protocol ?? 'native'}
          onChange={(protocol) => onChange({ protocol })}
        />
      </Field>
      {text('database', 'Database', 'default')}
      {text('username', 'User', 'analyst', 'The analyst role: reads everything, appends triage actions')}
      <Field label="Password" htmlFor={`${prefix}-password`}>
        <SecretInput
          id={`${prefix}-password`}
          width={40}
          isConfigured={kept}
          value={password}
          autoComplete="new-password"
          onReset={onReset}
          onChange={(e) => onPassword(e.currentTarget.value)}
        />
      </Field>
      {either('tls', 'TLS')}
      {settings.tls && (
        <>
          <Field label="Certificate authority" htmlFor={`${prefix}-ca`} description="PEM; empty takes the system’s">
            <TextArea
              id={`${prefix}-ca`}
              cols={60}
              rows={4}
              value={settings.tlsCA ?? ''}
              onChange={(e) => onChange({ tlsCA: e.currentTarget.value })}
            />
          </Field>
          {either(
            'tlsSkipVerify',
            'Do not verify the certificate',
            'Only on loopback: anybody in between could answer'
          )}
        </>
      )}
      <Field label="Time-out of a query, in seconds" htmlFor={`${prefix}-timeout`}>
        <Input
          id={`${prefix}-timeout`}
          width={12}
          type="number"
          min={1}
          max={300}
          value={settings.timeoutSeconds ?? 30}
          onChange={(e) => onChange({ timeoutSeconds: Number(e.currentTarget.value) })}
        />
      </Field>
    </>
  );
}
