import React, { useEffect, useState } from 'react';
import { Alert, Button, Field, Input, Modal, RadioButtonGroup, TextArea } from '@grafana/ui';
import { api, type Row, type Severity, type SuppressionPreview, type Verdict } from '../api';
import { useAnalyst } from '../analyst';
import { SEVERITIES, SeverityMark } from './Severity';
import { AgentText } from '../text/Text';
import { count } from '../format';

interface DialogProps {
  rows: Row[];
  onDismiss: () => void;
  /** Resolves when the backend has written it; a rejection is shown in the dialog. */
  onSubmit: (value: string, why: string) => Promise<void>;
}

function useSubmit(onSubmit: DialogProps['onSubmit']) {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (value: string, why: string) => {
    setBusy(true);
    setError('');
    try {
      await onSubmit(value, why);
    } catch (e) {
      setError(e instanceof Error ? e.message : String(e));
      setBusy(false);
    }
  };
  return { error, busy, submit };
}

const of = (rows: Row[]) => (rows.length === 1 ? 'alert' : `${rows.length} alerts`);

const VERDICTS: Array<{ value: Verdict; label: string; description: string }> = [
  { value: 'true', label: 'True', description: 'It did go astray.' },
  { value: 'benign', label: 'Benign', description: 'It is right for this agent; its baseline learns from it.' },
  { value: 'unsure', label: 'Unsure', description: 'It cannot be told; nothing is learned.' },
];

export function CloseDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [verdict, setVerdict] = useState<Verdict>();
  const [why, setWhy] = useState('');
  const { error, busy, submit } = useSubmit(onSubmit);
  return (
    <Modal title={`Close ${of(rows)}`} isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          verdict && submit(verdict, why);
        }}
      >
        <Field label="Verdict" description={VERDICTS.find((v) => v.value === verdict)?.description ?? 'What was it?'}>
          <RadioButtonGroup options={VERDICTS} value={verdict} onChange={setVerdict} autoFocus />
        </Field>
        <Field label="Reason" htmlFor="close-why" description="For the audit trail and for whoever sees the next one.">
          <TextArea
            id="close-why"
            value={why}
            rows={3}
            maxLength={4000}
            onChange={(e) => setWhy(e.currentTarget.value)}
          />
        </Field>
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" disabled={!verdict || busy}>{`Close ${of(rows)}`}</Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}

export function AssignDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const { login } = useAnalyst();
  const [who, setWho] = useState(login);
  const { error, busy, submit } = useSubmit(onSubmit);
  return (
    <Modal title={`Assign ${of(rows)}`} isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          submit(who.trim(), '');
        }}
      >
        <Field label="To" htmlFor="assign-who" description="A login; leave it empty to take the assignee off.">
          <Input
            id="assign-who"
            value={who}
            autoFocus
            maxLength={200}
            onChange={(e) => setWho(e.currentTarget.value)}
          />
        </Field>
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" disabled={busy}>
            Assign
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}

export function CommentDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [text, setText] = useState('');
  const { error, busy, submit } = useSubmit(onSubmit);
  return (
    <Modal title={`Comment on ${of(rows)}`} isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          submit('', text);
        }}
      >
        <Field label="Comment" htmlFor="comment-text" description="Plain text; it stays in the audit trail.">
          <TextArea
            id="comment-text"
            autoFocus
            value={text}
            rows={5}
            maxLength={4000}
            onChange={(e) => setText(e.currentTarget.value)}
          />
        </Field>
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" disabled={busy || text.trim() === ''}>
            Comment
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}

export function SeverityDialog({ rows, onDismiss, onSubmit }: DialogProps) {
  const [severity, setSeverity] = useState<Severity>(rows[0].severity);
  const [why, setWhy] = useState('');
  const { error, busy, submit } = useSubmit(onSubmit);
  return (
    <Modal title="Change the severity" isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          submit(severity, why);
        }}
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
        <Field label="Reason" htmlFor="severity-why">
          <TextArea
            id="severity-why"
            value={why}
            rows={3}
            maxLength={4000}
            onChange={(e) => setWhy(e.currentTarget.value)}
          />
        </Field>
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" disabled={busy || severity === rows[0].severity}>
            Change
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
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
  const { error, busy, submit } = useSubmit(async () => {
    await api.suppress(draft);
    onDone();
  });
  return (
    <Modal title="Suppress what looks like this" isOpen onDismiss={onDismiss}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          submit('', why);
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
        <Field label="Reason" htmlFor="suppress-why" required>
          <TextArea
            id="suppress-why"
            value={why}
            rows={2}
            maxLength={4000}
            onChange={(e) => setWhy(e.currentTarget.value)}
          />
        </Field>
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
        {error && <Alert severity="error" title={error} />}
        <Modal.ButtonRow>
          <Button variant="secondary" fill="outline" type="button" onClick={onDismiss}>
            Cancel
          </Button>
          <Button type="submit" variant="destructive" disabled={busy || !preview || why.trim() === ''}>
            Suppress
          </Button>
        </Modal.ButtonRow>
      </form>
    </Modal>
  );
}
