package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/astray-dev/astray/ingest/event"
)

const microsPerDay = 86_400_000_000

// Blocks collects events in columns and writes them in blocks, one for each day of event time, because an
// insert into one partition is atomic. It speaks ch-go, the layer under clickhouse-go, which costs a quarter of
// the CPU of appending rows. It belongs to one goroutine.
type Blocks struct {
	client *ch.Client
	days   map[int64]*block
	free   []*block
	rows   int
}

// NewBlocks returns a writer on the connection, which stays the caller's to close.
func NewBlocks(client *ch.Client) *Blocks { return &Blocks{client: client, days: map[int64]*block{}} }

type block struct {
	id, agentID, resource, destination, credentialID, ownerID, sessionID, traceID, sourceIP, replyTo, content proto.ColStr

	kind, access, action, method, service, agentVersion, cohort, userAgent, community, topic *proto.ColLowCardinality[string]

	onBehalfOf, mentions, labelKeys, labelValues, secretRules, secretPrints *proto.ColArr[string]

	time                                proto.ColDateTime64
	asn, idx                            proto.ColUInt32
	status, partition                   proto.ColInt32
	requestBytes, responseBytes, offset proto.ColInt64
	duration                            proto.ColFloat64
	late                                proto.ColUInt8
	firstOffset, lastOffset             int64
	keys, values, rules, fingerprints   []string
	columns                             proto.Input
}

func newBlock() *block {
	low := func() *proto.ColLowCardinality[string] { return new(proto.ColStr).LowCardinality() }
	arr := func() *proto.ColArr[string] { return new(proto.ColStr).Array() }
	b := &block{
		kind: low(), access: low(), action: low(), method: low(), service: low(), agentVersion: low(), cohort: low(),
		userAgent: low(), community: low(), topic: low(),
		onBehalfOf: arr(), mentions: arr(), labelValues: arr(), secretPrints: arr(),
		labelKeys: proto.NewArray(low()), secretRules: proto.NewArray(low()),
	}
	b.time.WithPrecision(proto.PrecisionMicro)
	b.columns = proto.Input{
		{Name: "id", Data: &b.id}, {Name: "time", Data: &b.time}, {Name: "kind", Data: b.kind}, {Name: "access", Data: b.access},
		{Name: "agent_id", Data: &b.agentID}, {Name: "action", Data: b.action}, {Name: "method", Data: b.method},
		{Name: "service", Data: b.service}, {Name: "resource", Data: &b.resource}, {Name: "destination", Data: &b.destination},
		{Name: "credential_id", Data: &b.credentialID}, {Name: "owner_id", Data: &b.ownerID}, {Name: "on_behalf_of", Data: b.onBehalfOf},
		{Name: "session_id", Data: &b.sessionID}, {Name: "trace_id", Data: &b.traceID}, {Name: "agent_version", Data: b.agentVersion},
		{Name: "cohort", Data: b.cohort}, {Name: "source_ip", Data: &b.sourceIP}, {Name: "asn", Data: &b.asn},
		{Name: "user_agent", Data: b.userAgent}, {Name: "status", Data: &b.status}, {Name: "request_bytes", Data: &b.requestBytes},
		{Name: "response_bytes", Data: &b.responseBytes}, {Name: "duration_ms", Data: &b.duration}, {Name: "community", Data: b.community},
		{Name: "reply_to", Data: &b.replyTo}, {Name: "mentions", Data: b.mentions}, {Name: "content", Data: &b.content},
		{Name: "label_keys", Data: b.labelKeys}, {Name: "label_values", Data: b.labelValues},
		{Name: "secret_rules", Data: b.secretRules}, {Name: "secret_fingerprints", Data: b.secretPrints},
		{Name: "late", Data: &b.late}, {Name: "topic", Data: b.topic}, {Name: "partition", Data: &b.partition},
		{Name: "offset", Data: &b.offset}, {Name: "idx", Data: &b.idx},
	}
	return b
}

// Append adds one event. Nothing of it is kept but its bytes.
func (w *Blocks) Append(e *event.Event, pos event.Position, late bool) {
	day := e.Time / microsPerDay
	b := w.days[day]
	if b == nil {
		if n := len(w.free); n > 0 {
			b, w.free = w.free[n-1], w.free[:n-1]
		} else {
			b = newBlock()
		}
		b.firstOffset = pos.Offset
		w.days[day] = b
	}
	b.lastOffset = pos.Offset
	w.rows++
	b.id.Append(e.ID)
	b.time.AppendRaw(proto.DateTime64(e.Time))
	b.kind.Append(e.Kind.String())
	b.access.Append(e.Access.String())
	b.agentID.Append(e.AgentID)
	b.action.Append(e.Action)
	b.method.Append(e.Method)
	b.service.Append(e.Service)
	b.resource.Append(e.Resource)
	b.destination.Append(e.Destination)
	b.credentialID.Append(e.CredentialID)
	b.ownerID.Append(e.OwnerID)
	b.onBehalfOf.Append(e.OnBehalfOf)
	b.sessionID.Append(e.SessionID)
	b.traceID.Append(e.TraceID)
	b.agentVersion.Append(e.AgentVersion)
	b.cohort.Append(e.Cohort)
	b.sourceIP.Append(e.SourceIP)
	b.asn.Append(e.ASN)
	b.userAgent.Append(e.UserAgent)
	b.status.Append(e.Status)
	b.requestBytes.Append(e.RequestBytes)
	b.responseBytes.Append(e.ResponseBytes)
	b.duration.Append(e.DurationMS)
	b.community.Append(e.Community)
	b.replyTo.Append(e.ReplyTo)
	b.mentions.Append(e.Mentions)
	b.content.Append(e.Content)
	b.keys, b.values = b.keys[:0], b.values[:0]
	for _, l := range e.Labels {
		b.keys, b.values = append(b.keys, l.Key), append(b.values, l.Value)
	}
	b.labelKeys.Append(b.keys)
	b.labelValues.Append(b.values)
	b.rules, b.fingerprints = b.rules[:0], b.fingerprints[:0]
	for _, s := range e.Secrets {
		b.rules, b.fingerprints = append(b.rules, s.Rule), append(b.fingerprints, s.Fingerprint)
	}
	b.secretRules.Append(b.rules)
	b.secretPrints.Append(b.fingerprints)
	var l uint8
	if late {
		l = 1
	}
	b.late.Append(l)
	b.topic.Append(pos.Topic)
	b.partition.Append(pos.Partition)
	b.offset.Append(pos.Offset)
	b.idx.Append(pos.Index)
}

// Rows is how many events wait to be written.
func (w *Blocks) Rows() int { return w.rows }

// Flush writes what waits, oldest day first, and forgets each block once the server has it. After an error the
// blocks not yet acknowledged still wait; writing one again that did arrive does nothing, for its token is known.
func (w *Blocks) Flush(ctx context.Context) error {
	for len(w.days) > 0 {
		day := int64(1<<62 - 1)
		for d := range w.days {
			day = min(day, d)
		}
		b := w.days[day]
		rows := b.id.Rows()
		topic, partition := b.topic.Row(0), b.partition.Row(0)
		err := w.client.Do(ctx, ch.Query{
			Body:  b.columns.Into("events"),
			Input: b.columns,
			Settings: []ch.Setting{
				{Key: "async_insert", Value: "0", Important: true},
				{Key: "insert_deduplicate", Value: "1", Important: true},
				{Key: "insert_deduplication_token", Important: true,
					Value: fmt.Sprintf("%s/%d/%d-%d/%d", topic, partition, b.firstOffset, b.lastOffset, day)},
			},
		})
		if err != nil {
			return fmt.Errorf("insert %d events of %s, offsets %d to %d of %s/%d: %w", rows,
				time.UnixMicro(day*microsPerDay).UTC().Format(time.DateOnly), b.firstOffset, b.lastOffset, topic, partition, err)
		}
		for i := range b.columns {
			b.columns[i].Data.(proto.Resettable).Reset()
		}
		delete(w.days, day)
		w.free = append(w.free, b)
		w.rows -= rows
	}
	return nil
}
