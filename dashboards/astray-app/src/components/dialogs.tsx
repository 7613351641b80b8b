import React, { useEffect, useState } from 'react';
import { Alert, Button, Field, Input, Modal, RadioButtonGroup, TextArea } from '@grafana/ui';
import { api, type Row, type SuppressionPreview, type Verdict } from '../api';
import { SEVERITIES, type Severity } from '../severities';
import { useAnalyst } from '../analyst';
import { SeverityMark } from './Severity';
import { AgentText } from '../text/Text';
import { count } from '../format';

interface DialogProps {
  rows: Row[];
  onDismiss: () => void;
  /** Resolves when the backend has written it; a rejection is shown in the dialog. */
  onSubmit: (value: string, why: string) => Promise<void>;
}

const of = (rows: Row[]) => (rows.length === 1 ? 'alert' : `${rows.length} alerts`);

const VERDICTS: Array<{ value: Verdict; label: string; description: string }> = [
  { value: 'true', label: 'True', description: 'It did go astray.' },
  { value: 'benign', label: 'Benign', description: 'It is right for this agent; its baseline learns from it.' },
  { value: 'unsure', label: 'Unsure', description: 'It cannot be told; nothing is learned.' },
];

interface QuestionProps {
  title: string;
  /** What the button says that does it. */
  does: string;
  /** Nothing can be sent yet. */
  incomplete?: boolean;
  destructive?: boolean;
  onDismiss: () => void;
  /** Resolves when the backend has written it; a rejection is shown in the dialog. */
  onSubmit: () => Promise<void>;
  children: React.ReactNode;
}

/** A form in a dialog: its fields, what went wrong, and the way out. */
function Question({ title, does, incomplete, destructive, onDismiss, onSubmit, children }: QuestionProps) {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setError('');
    try {
      await onSubmit();
    } catch (e) {
      setError(e instanceof Error ? e.message : String(e));
      setBusy(false);
    }
  };
  return (
    <Modal title={title} isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          !incomplete && !busy && submit();
        }}
      >
        {children}
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" variant={destructive ? 'destructive' : 'primary'} disabled={incomplete || busy}>
            {does}
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}

interface WordsProps {
  id: string;
  label?: string;
  description?: string;
  required?: boolean;
  autoFocus?: boolean;
  rows?: number;
  value: string;
  onChange: (text: string) => void;
}

/** What somebody says for the audit trail. */
function Words({ id, label = 'Reason', description, required, autoFocus, rows = 3, value, onChange }: WordsProps) {
  return (
    <Field label={label} htmlFor={id} description={description} required={required}>
      <TextArea
        id={id}
        value={value}
        rows={rows}
        autoFocus={autoFocus}
        maxLength={4000}
        onChange={(e) => onChange(e.currentTarget.value)}
      />
    </Field>
  );
}

export function CloseDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [verdict, setVerdict] = useState<Verdict>();
  const [why, setWhy] = useState('');
  return (
    <Question
      title={`Close ${of(rows)}`}
      does={`Close ${of(rows)}`}
      incomplete={!verdict}
      onDismiss={onDismiss}
      onSubmit={() => onSubmit(verdict!, why)}
    >
      <Field label="Verdict" description={VERDICTS.find((v) => v.value === verdict)?.description ?? 'What was it?'}>
        <RadioButtonGroup options={VERDICTS} value={verdict} onChange={setVerdict} autoFocus />
      </Field>
      <Words
        id="close-why"
        description="For the audit trail and for whoever sees the next one."
        value={why}
        onChange={setWhy}
      />
    </Question>
  );
}

export function AssignDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const { login } = useAnalyst();
  const [who, setWho] = useState(login);
  return (
    <Question
      title={`Assign ${of(rows)}`}
      does="Assign"
      onDismiss={onDismiss}
      onSubmit={() => onSubmit(who.trim(), '')}
    >
      <Field label="To" htmlFor="assign-who" description="A login; leave it empty to take the assignee off.">
        <Input id="assign-who" value={who} autoFocus maxLength={200} onChange={(e) => setWho(e.currentTarget.value)} />
      </Field>
    </Question>
  );
}

export function CommentDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [text, setText] = useState('');
  return (
    <Question
      title={`Comment on ${of(rows)}`}
      does="Comment"
      incomplete={text.trim() === ''}
      onDismiss={onDismiss}
      onSubmit={() => onSubmit('', text)}
    >
      <Words
        id="comment-text"
        label="Comment"
        description="Plain text; it stays in the audit trail."
        autoFocus
        rows={5}
        value={text}
        onChange={setText}
      />
    </Question>
  );
}

export function SeverityDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [severity, setSeverity] = useState<Severity>(rows[0].severity);
  const [why, setWhy] = useState('');
  return (
    <Question
      title="Change the severity"
      does="Change"
      incomplete={severity === rows[0].severity}
      onDismiss={onDismiss}
      onSubmit={() => onSubmit(severity, why)}
    >
      <Field
        label="Severity"
        description={
          <>
            The detector gave <SeverityMark severity={rows[0].severity_detected} label />
          </>
        }
      >
        <RadioButtonGroup
          options={SEVERITIES.map((value) => ({ value, label: value }))}
          value={severity}
          onChange={setSeverity}
        />
      </Field>
      <Words id="severity-why" value={why} onChange={setWhy} />
    </Question>
  );
}

type Scope = 'both' | 'entity' | 'detector';
const UNTIL = [
  { value: 24, label: 'A day' },
  { value: 24 * 7, label: 'A week' },
  { value: 24 * 30, label: '30 days' },
  { value: 0, label: 'For good' },
];

/** Hides alerts that look like this one, after showing how many of the past ones that would have hidden. */
export function SuppressDialog({
  row,
  now,
  onDismiss,
  onDone,
}: {
  row: Row;
  now: number;
  onDismiss: () => void;
  onDone: () => void;
}) {
  const [scope, setScope] = useState<Scope>('both');
  const [pattern, setPattern] = useState('');
  const [hours, setHours] = useState(24 * 7);
  const [why, setWhy] = useState('');
  const [preview, setPreview] = useState<SuppressionPreview>();
  const [previewError, setPreviewError] = useState('');
  const draft = {
    detector: scope === 'entity' ? '' : row.detector,
    entity_kind: scope === 'detector' ? '' : row.entity_kind,
    entity_id: scope === 'detector' ? '' : row.entity_id,
    pattern: pattern.trim(),
    until: hours ? new Date(now + hours * 3600_000).toISOString() : '',
    why,
  };
  const key = [draft.detector, draft.entity_kind, draft.entity_id, draft.pattern].join('\n');
  useEffect(() => {
    let gone = false;
    setPreview(undefined);
    setPreviewError('');
    const timer = setTimeout(() => {
      api.previewSuppression(draft).then(
        (p) => !gone && setPreview(p),
        (e: Error) => !gone && setPreviewError(e.message)
      );
    }, 200);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [key]); // eslint-disable-line react-hooks/exhaustive-deps
  return (
    <Question
      title="Suppress what looks like this"
      does="Suppress"
      destructive
      incomplete={!preview || why.trim() === ''}
      onDismiss={onDismiss}
      onSubmit={async () => {
        await api.suppress(draft);
        onDone();
      }}
    >
      <Field
        label="What"
        description={
          <>
            Detector {row.detector}, {row.entity_kind} <AgentText value={row.entity_id} max={40} mono />
          </>
        }
      >
        <RadioButtonGroup
          value={scope}
          onChange={setScope}
          options={[
            { value: 'both' as const, label: `This detector on this ${row.entity_kind}` },
            { value: 'entity' as const, label: `All of this ${row.entity_kind}` },
            { value: 'detector' as const, label: 'All of this detector' },
          ]}
        />
      </Field>
      <Field
        label="Only where the title or the entity contains"
        htmlFor="suppress-pattern"
        description="Leave it empty for all. * stands for anything."
      >
        <Input
          id="suppress-pattern"
          value={pattern}
          maxLength={200}
          onChange={(e) => setPattern(e.currentTarget.value)}
        />
      </Field>
      <Field label="For">
        <RadioButtonGroup options={UNTIL} value={hours} onChange={setHours} />
      </Field>
      <Words id="suppress-why" required rows={2} value={why} onChange={setWhy} />
      {previewError ? (
        <Alert severity="warning" title={previewError} />
      ) : (
        <Alert
          severity={preview && preview.hidden > 50 ? 'warning' : 'info'}
          title={
            preview
              ? `It would have hidden ${count(preview.hidden)} ${preview.hidden === 1 ? 'alert' : 'alerts'} of the last ${preview.days} days; still open: ${count(preview.open)}.`
              : 'Counting what it would have hidden…'
          }
        >
          {preview?.sample.slice(0, 4).map((s) => (
            <div key={s.id}>
              <SeverityMark severity={s.severity} /> <AgentText value={s.title} max={90} />
            </div>
          ))}
        </Alert>
      )}
    </Question>
  );
}
