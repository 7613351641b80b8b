import React from 'react';
import { type QueryEditorProps } from '@grafana/data';
import {
  Button,
  Combobox,
  InlineField,
  InlineFieldRow,
  InlineSwitch,
  Input,
  MultiCombobox,
  RadioButtonGroup,
} from '@grafana/ui';
import { type AstrayDataSource, FILTER_KEYS } from './datasource';
import { type AstrayOptions, type AstrayQuery, type Filter, type QueryType } from './types';

type Props = QueryEditorProps<AstrayDataSource, AstrayQuery, AstrayOptions>;

const TYPES: Array<{ value: QueryType; label: string; description: string }> = [
  { value: 'alerts', label: 'Alerts', description: 'One row for each alert, or their number' },
  { value: 'events', label: 'Events', description: 'What agents did, newest first' },
  { value: 'rate', label: 'Rate against its band', description: 'How often, and how often its own past expects' },
  { value: 'distinct', label: 'Distinct targets against their band', description: 'How many different objects' },
  { value: 'entities', label: 'Top entities', description: 'By alerts or by volume' },
  { value: 'graph', label: 'Graph', description: 'Who used what: for the node graph panel' },
  { value: 'blast', label: 'Blast radius', description: 'What was read, written and reached' },
  { value: 'health', label: 'Pipeline health', description: 'Lag, freshness, dead letters' },
];
const LABEL = 16;

/** The question in plain words: what, of whom, under which conditions. */
export function QueryEditor({ query, onChange, onRunQuery, datasource }: Props) {
  const type = query.queryType ?? 'alerts';
  const set = (change: Partial<AstrayQuery>, run = true) => {
    onChange({ ...query, queryType: type, ...change });
    run && onRunQuery();
  };
  const list = (of: string) => async (q: string) => {
    const values = await datasource.values(of, q);
    return [...values, '$agent', '$detector', '$cohort', '$severity']
      .filter((v) => !v.startsWith('$') || v.startsWith(q || '\0'))
      .map((value) => ({ value, label: value }));
  };
  const entity = ['rate', 'distinct', 'graph', 'blast'].includes(type);
  const several = (
    name: 'detector' | 'cohort' | 'severity' | 'state',
    label: string,
    of: string | string[],
    width = 30
  ) => (
    <InlineField label={label} labelWidth={LABEL}>
      <MultiCombobox
        width={width}
        createCustomValue
        placeholder="any"
        id={`qe-${name}`}
        options={typeof of === 'string' ? list(of) : of.map((value) => ({ value, label: value }))}
        value={(query[name] ?? []).map((value) => ({ value, label: value }))}
        onChange={(options) => set({ [name]: options.map((o) => o.value) })}
      />
    </InlineField>
  );
  return (
    <>
      <InlineFieldRow>
        <InlineField label="Show" labelWidth={LABEL}>
          <Combobox
            width={40}
            id="qe-show"
            options={TYPES}
            value={type}
            onChange={(o) => set({ queryType: o.value })}
          />
        </InlineField>
        {type === 'alerts' && (
          <InlineField label="as">
            <RadioButtonGroup
              options={[
                { value: 'table' as const, label: 'Table' },
                { value: 'count' as const, label: 'Number per severity' },
              ]}
              value={query.format ?? 'table'}
              onChange={(format) => set({ format })}
            />
          </InlineField>
        )}
        {type === 'entities' && (
          <InlineField label="by">
            <RadioButtonGroup
              options={[
                { value: 'alerts' as const, label: 'Alerts' },
                { value: 'volume' as const, label: 'Volume' },
              ]}
              value={query.by ?? 'alerts'}
              onChange={(by) => set({ by })}
            />
          </InlineField>
        )}
        {type === 'health' && (
          <InlineField label="of" labelWidth={6}>
            <Combobox
              width={30}
              id="qe-metric"
              options={[
                { value: '', label: 'Everything' },
                ...['freshness_seconds', 'lag_seconds', 'dead_letters', 'late', 'events_per_second'].map((value) => ({
                  value,
                  label: value.replace(/_/g, ' '),
                })),
              ]}
              value={query.metric ?? ''}
              onChange={(o) => set({ metric: o.value })}
            />
          </InlineField>
        )}
      </InlineFieldRow>
      {(entity || type === 'events') && (
        <InlineFieldRow>
          {(type === 'graph' || type === 'blast') && (
            <InlineField label="Of the" labelWidth={LABEL}>
              <RadioButtonGroup
                options={['agent', 'credential', 'source'].map((value) => ({ value, label: value }))}
                value={query.kind ?? 'agent'}
                onChange={(kind) => set({ kind })}
              />
            </InlineField>
          )}
          <InlineField
            label={(query.kind ?? 'agent') === 'agent' || type === 'events' ? 'Agent' : 'Id'}
            labelWidth={LABEL}
          >
            <Combobox
              width={40}
              createCustomValue
              isClearable
              id="qe-agent"
              placeholder={type === 'events' ? 'any agent' : 'choose one, or $agent'}
              options={list('agents')}
              value={query.agent ?? query.id ?? null}
              onChange={(o) =>
                set(
                  (query.kind ?? 'agent') === 'agent' || type === 'events'
                    ? { agent: o?.value, id: undefined }
                    : { id: o?.value, agent: undefined }
                )
              }
            />
          </InlineField>
          {(type === 'rate' || type === 'distinct') && (
            <InlineField label="Feature" labelWidth={LABEL} tooltip="What is counted; empty takes the usual one">
              <Combobox
                width={30}
                createCustomValue
                isClearable
                id="qe-feature"
                placeholder="the usual one"
                options={list('features')}
                value={query.feature ?? null}
                onChange={(o) => set({ feature: o?.value })}
              />
            </InlineField>
          )}
        </InlineFieldRow>
      )}
      {(type === 'alerts' || type === 'entities') && (
        <InlineFieldRow>
          {several('severity', 'Severity', ['critical', 'high', 'medium', 'low', '$severity'])}
          {several('state', 'State', ['open', 'acknowledged', 'closed'])}
          {several('detector', 'Detector', 'detectors')}
          {several('cohort', 'Cohort', 'cohorts')}
        </InlineFieldRow>
      )}
      {(type === 'events' || type === 'alerts') && (
        <Filters filters={query.filters ?? []} onChange={(filters, run) => set({ filters }, run)} />
      )}
      <InlineFieldRow>
        {['alerts', 'events', 'entities'].includes(type) && (
          <InlineField label="At most" labelWidth={LABEL}>
            <Input
              width={12}
              type="number"
              min={1}
              max={20000}
              id="qe-limit"
              defaultValue={query.limit ?? 1000}
              onBlur={(e) => set({ limit: Number(e.currentTarget.value) || 1000 })}
            />
          </InlineField>
        )}
        {type === 'alerts' && (
          <>
            <InlineField
              label="Older than, s"
              labelWidth={LABEL}
              tooltip="Only alerts that have stood this long; for alert rules"
            >
              <Input
                width={12}
                type="number"
                min={0}
                id="qe-older"
                defaultValue={query.olderThanSeconds ?? 0}
                onBlur={(e) => set({ olderThanSeconds: Number(e.currentTarget.value) || undefined })}
              />
            </InlineField>
            <InlineField label="Live" tooltip="New alerts come by themselves">
              <InlineSwitch
                aria-label="Live"
                value={query.stream ?? false}
                onChange={(e) => set({ stream: e.currentTarget.checked })}
              />
            </InlineField>
          </>
        )}
      </InlineFieldRow>
    </>
  );
}

const OPERATORS = ['=', '!=', '=~', '!~', '<', '>'].map((value) => ({ value, label: value }));

function Filters({ filters, onChange }: { filters: Filter[]; onChange: (filters: Filter[], run?: boolean) => void }) {
  const change = (i: number, part: Partial<Filter>, run = true) =>
    onChange(
      filters.map((f, j) => (j === i ? { ...f, ...part } : f)),
      run
    );
  return (
    <InlineFieldRow>
      <InlineField label="Where" labelWidth={LABEL}>
        <span style={{ display: 'flex', flexWrap: 'wrap', gap: 8 }}>
          <span hidden>
            <span id="qe-field">Field</span>
            <span id="qe-comparison">Comparison</span>
          </span>
          {filters.map((f, i) => (
            <span key={i} style={{ display: 'inline-flex', gap: 2 }}>
              <Combobox
                width={18}
                aria-labelledby="qe-field"
                options={FILTER_KEYS.map((value) => ({ value, label: value }))}
                value={f.key}
                onChange={(o) => change(i, { key: o.value })}
              />
              <Combobox
                width={8}
                aria-labelledby="qe-comparison"
                options={OPERATORS}
                value={f.op}
                onChange={(o) => change(i, { op: o.value })}
              />
              <Input
                width={24}
                aria-label="Value"
                value={f.value}
                maxLength={1000}
                onChange={(e) => change(i, { value: e.currentTarget.value }, false)}
                onBlur={() => onChange(filters)}
              />
              <Button
                variant="secondary"
                icon="times"
                aria-label="Remove the condition"
                onClick={() => onChange(filters.filter((_, j) => j !== i))}
              />
            </span>
          ))}
          <Button
            variant="secondary"
            icon="plus"
            onClick={() => onChange([...filters, { key: 'action', op: '=', value: '' }], false)}
          >
            Condition
          </Button>
        </span>
      </InlineField>
    </InlineFieldRow>
  );
}
