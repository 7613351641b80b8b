import React, { useState } from 'react';
import { css } from '@emotion/css';
import { type AppPluginMeta, type GrafanaTheme2 } from '@grafana/data';
import { getBackendSrv } from '@grafana/runtime';
import { Alert, Button, Field, Icon, Input, useStyles2 } from '@grafana/ui';
import { lastValueFrom } from 'rxjs';
import { api, type TestResult } from '../api';
import { Connection, type ConnectionSettings } from '../components/Connection';
import { PlainTable, Section, Shown } from '../components/Section';
import { bytes, count, instant } from '../format';
import { safe } from '../text/escape';
import { useLoad } from '../useLoad';

export interface Settings extends ConnectionSettings {
  alertBudget?: number;
}

/** The app's configuration page, under Administration. */
export default function Configuration({ meta }: { meta: AppPluginMeta }) {
  const styles = useStyles2(getStyles);
  const jsonData = (meta.jsonData ?? {}) as Settings;
  const [settings, setSettings] = useState<Settings>(jsonData);
  const [password, setPassword] = useState('');
  const [kept, setKept] = useState(Boolean(meta.secureJsonFields?.password));
  const [error, setError] = useState('');
  const [saving, setSaving] = useState(false);
  const [test, setTest] = useState<TestResult>();
  const [testing, setTesting] = useState(false);
  const state = useLoad(() => api.configuration(), []);
  const set = (change: Settings) => setSettings({ ...settings, ...change });

  const save = async () => {
    setSaving(true);
    setError('');
    try {
      await lastValueFrom(
        getBackendSrv().fetch({
          url: `/api/plugins/${meta.id}/settings`,
          method: 'POST',
          data: {
            enabled: true,
            pinned: true,
            jsonData: settings,
            ...(password ? { secureJsonData: { password } } : {}),
          },
        })
      );
      setKept(kept || password !== '');
      setPassword('');
      state.reload();
    } catch (e) {
      setError(e instanceof Error ? e.message : 'Grafana did not keep the settings: are you an admin?');
    }
    setSaving(false);
  };

  const run = async () => {
    setTesting(true);
    try {
      setTest(await api.test());
    } catch (e) {
      setTest({ ok: false, message: e instanceof Error ? e.message : String(e), details: [] });
    }
    setTesting(false);
  };

  return (
    <div className={styles.page}>
      <Section title="Connection" hint="To the ClickHouse that astray run writes">
        <form
          className={styles.form}
          onSubmit={(e) => {
            e.preventDefault();
            save();
          }}
        >
          <Connection
            prefix="c"
            settings={settings}
            onChange={set}
            kept={kept}
            password={password}
            onPassword={setPassword}
            onReset={() => setKept(false)}
          />
          <Field
            label="Alert budget"
            htmlFor="c-budget"
            description="As set in astray run: false alerts per 1,000 agent-days; shown on the fleet page"
          >
            <Input
              id="c-budget"
              width={20}
              type="number"
              min={0}
              step="any"
              value={settings.alertBudget ?? 1}
              onChange={(e) => set({ alertBudget: Number(e.currentTarget.value) })}
            />
          </Field>
          <div className={styles.buttons}>
            <Button type="submit" disabled={saving}>
              Save
            </Button>
            <Button type="button" variant="secondary" icon="heart-rate" disabled={testing} onClick={run}>
              {testing ? 'Testing…' : 'Test'}
            </Button>
          </div>
        </form>
        {error && <Alert severity="error" title={error} />}
        {test && (
          <Alert severity={test.ok ? 'success' : 'error'} title={safe(test.message, 300)}>
            <ul className={styles.checks}>
              {(test.details ?? []).map((d) => (
                <li key={d.check}>
                  <Icon name={d.ok ? 'check' : 'times'} /> {safe(d.check, 60)}: {safe(d.message, 300)}
                </li>
              ))}
            </ul>
          </Alert>
        )}
      </Section>
      <Shown loaded={state}>
        {(c) => (
          <>
            <Section title="In use now">
              <p>
                {safe(c.connection.user, 60)} on {safe(c.connection.address, 120)}, database{' '}
                {safe(c.connection.database, 60)}, {c.connection.tls ? 'with' : 'without'} TLS. Schema version{' '}
                {c.schema.version}
                {c.schema.version >= c.schema.expected
                  ? '.'
                  : `; this plugin needs ${c.schema.expected} or newer: run astray migrate.`}
              </p>
            </Section>
            <Section title="Retention" hint="Set by astray run; shown here">
              <PlainTable head={['Table', 'Kept for', 'Rows', 'On disk', 'Oldest (UTC)']} label="Retention">
                {c.retention.map((r) => (
                  <tr key={r.table}>
                    <td>{safe(r.table, 60)}</td>
                    <td>{safe(r.keep, 60)}</td>
                    <td>{count(r.rows)}</td>
                    <td>{bytes(r.bytes)}</td>
                    <td>{r.oldest ? instant(r.oldest) : '–'}</td>
                  </tr>
                ))}
              </PlainTable>
            </Section>
            <Section title="Roles" hint="Grafana’s roles; the backend checks them on every call">
              <PlainTable head={['Role', 'May']} label="Roles">
                {c.roles.map((r) => (
                  <tr key={r.role}>
                    <td>{safe(r.role, 30)}</td>
                    <td>{r.can.map((x) => safe(x, 120)).join(', ')}</td>
                  </tr>
                ))}
              </PlainTable>
            </Section>
          </>
        )}
      </Shown>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(1.5), maxWidth: 1200 }),
  form: css({
    display: 'grid',
    gridTemplateColumns: 'repeat(auto-fit, minmax(320px, 1fr))',
    columnGap: theme.spacing(3),
  }),
  buttons: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'center', gridColumn: '1 / -1' }),
  checks: css({ listStyle: 'none' }),
});
