package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

var _ pipeline.Historian = (*Store)(nil)

// historyStep is how many offsets are read at a time: they are sorted by the server, in its memory.
const historyStep = 200_000

// History yields the stored events of a partition before the checkpoint in the order of their positions, with what
// detection looks at. What retention has removed is not there.
func (s *Store) History(ctx context.Context, cp pipeline.Checkpoint, yield func(ev *event.Event)) error {
	var first, rows = int64(0), uint64(0)
	err := s.conn.QueryRow(ctx, "SELECT min(offset), count() FROM events WHERE topic = $1 AND partition = $2 AND offset < $3",
		cp.Topic, cp.Partition, cp.Offset).Scan(&first, &rows)
	if err != nil || rows == 0 {
		return wrap(err, "look for the history of", cp)
	}
	for from := first; from < cp.Offset; from += historyStep {
		if err := s.history(ctx, cp, from, min(from+historyStep, cp.Offset), yield); err != nil {
			return wrap(err, "read the history of", cp)
		}
	}
	return nil
}

func (s *Store) history(ctx context.Context, cp pipeline.Checkpoint, from, to int64, yield func(ev *event.Event)) error {
	return s.read(ctx, "topic = {topic:String} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {to:Int64} ORDER BY offset, idx",
		parameters("topic", cp.Topic, "partition", cp.Partition, "from", from, "to", to), yield)
}

// betweenStep is how much of a span is read at a time: it is sorted by the server, in its memory.
const betweenStep = 10 * time.Minute

// Between yields the stored events of all partitions from a time up to another in the order of their times, with what
// detection looks at.
func (s *Store) Between(ctx context.Context, from, to time.Time, yield func(ev *event.Event)) error {
	for from.Before(to) {
		next := from.Add(betweenStep)
		if next.After(to) {
			next = to
		}
		err := s.read(ctx, `time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
			ORDER BY time, topic, partition, offset, idx`, parameters("from", from.UnixMicro(), "to", next.UnixMicro()), yield)
		if err != nil {
			return fmt.Errorf("read the events from %s: %w", from.UTC().Format(time.RFC3339), err)
		}
		from = next
	}
	return nil
}

// read yields events, those and in that order that a condition says.
func (s *Store) read(ctx context.Context, where string, values []proto.Parameter, yield func(ev *event.Event)) error {
	var id, kind, access, agent, action, service, resource, destination, credential, version, cohort, source, client, reply, content proto.ColStr
	var at, sent, returned proto.ColInt64
	var asn proto.ColUInt32
	var status proto.ColInt32
	fields, rules, prints := proto.NewArray(new(proto.ColStr)), proto.NewArray(new(proto.ColStr)), proto.NewArray(new(proto.ColStr))
	var ev event.Event
	return s.native(ctx, ch.Query{
		Body: `SELECT id, toUnixTimestamp64Micro(time) AS at, CAST(kind AS String) AS kind, CAST(access AS String) AS access, agent_id,
			CAST(action AS String) AS action, CAST(service AS String) AS service, resource, destination, credential_id,
			CAST(agent_version AS String) AS agent_version, CAST(cohort AS String) AS cohort, source_ip, asn,
			CAST(user_agent AS String) AS user_agent, status, request_bytes, response_bytes, reply_to, content,
			CAST(secrets.field AS Array(String)) AS fields, CAST(secrets.rule AS Array(String)) AS rules, secrets.fingerprint AS prints
			FROM events WHERE ` + where,
		Parameters: values,
		Settings:   []ch.Setting{{Key: "max_block_size", Value: "8192"}},
		Result: proto.Results{{Name: "id", Data: &id}, {Name: "at", Data: &at}, {Name: "kind", Data: &kind}, {Name: "access", Data: &access},
			{Name: "agent_id", Data: &agent}, {Name: "action", Data: &action}, {Name: "service", Data: &service}, {Name: "resource", Data: &resource},
			{Name: "destination", Data: &destination}, {Name: "credential_id", Data: &credential}, {Name: "agent_version", Data: &version},
			{Name: "cohort", Data: &cohort}, {Name: "source_ip", Data: &source}, {Name: "asn", Data: &asn}, {Name: "user_agent", Data: &client},
			{Name: "status", Data: &status}, {Name: "request_bytes", Data: &sent}, {Name: "response_bytes", Data: &returned},
			{Name: "reply_to", Data: &reply}, {Name: "content", Data: &content}, {Name: "fields", Data: fields}, {Name: "rules", Data: rules},
			{Name: "prints", Data: prints}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range id.Rows() {
				ev.Reset()
				ev.ID, ev.Time, ev.AgentID, ev.Action, ev.Service = id.Row(i), at[i], agent.Row(i), action.Row(i), service.Row(i)
				ev.Kind = event.APICall
				if kind.Row(i) == event.Post.String() {
					ev.Kind = event.Post
				}
				ev.Access, _ = event.ParseAccess(access.Row(i))
				ev.Resource, ev.Destination, ev.CredentialID = resource.Row(i), destination.Row(i), credential.Row(i)
				ev.AgentVersion, ev.Cohort, ev.SourceIP, ev.ASN = version.Row(i), cohort.Row(i), source.Row(i), asn[i]
				ev.UserAgent, ev.Status, ev.RequestBytes, ev.ResponseBytes = client.Row(i), status[i], sent[i], returned[i]
				ev.ReplyTo, ev.Content = reply.Row(i), content.Row(i)
				f, r, p := fields.Row(i), rules.Row(i), prints.Row(i)
				for j := range f {
					ev.Secrets = append(ev.Secrets, event.Secret{Field: f[j], Rule: r[j], Fingerprint: p[j]})
				}
				yield(&ev)
			}
			return nil
		},
	})
}
