package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

const microsPerDay = 86_400_000_000

// Block collects events of one partition in columns and writes them in blocks, one for each day of event time,
// because an insert into one partition of the table is atomic. It speaks ch-go, the layer under clickhouse-go,
// which costs a fraction of the CPU of appending rows (see README.md). It belongs to one goroutine.
type Block struct {
	store *Store
	claim pipeline.Checkpoint
	days  map[int64]*block
	free  []*block
	rows  int
	bytes int
}

// NewBlock returns an empty block for the owner of a partition that the claim names.
func (s *Store) NewBlock(claim pipeline.Checkpoint) *Block {
	return &Block{store: s, claim: claim, days: map[int64]*block{}}
}

var _ pipeline.Block = (*Block)(nil)

// Close forgets the rows that were not flushed.
func (w *Block) Close() error {
	w.days, w.free, w.rows, w.bytes = map[int64]*block{}, nil, 0, 0
	return nil
}

// block is the events of one day.
type block struct {
	id, agentID, resource, destination, credentialID, ownerID, sessionID, traceID, sourceIP, replyTo, content textColumn

	kind, access, action, method, service, agentVersion, cohort, userAgent, community, topic lowColumn

	onBehalfOf, mentions                    *stringsColumn
	secretFields, secretRules, secretPrints *stringsColumn
	labelKeys                               lowColumn
	labelValues                             textColumn
	labels                                  listColumn
	time                                    timeColumn
	asn, idx                                proto.ColUInt32
	status, partition                       proto.ColInt32
	requestBytes, responseBytes, offset     proto.ColInt64
	duration                                proto.ColFloat64
	late                                    proto.ColUInt8
	firstOffset, lastOffset                 int64
	columns                                 proto.Input
}

// timeColumn is DateTime64(6, 'UTC') of microseconds since the epoch.
type timeColumn struct{ proto.ColInt64 }

func (timeColumn) Type() proto.ColumnType { return "DateTime64(6, 'UTC')" }

func newBlock() *block {
	b := &block{
		onBehalfOf: newStrings(), mentions: newStrings(),
		secretFields: newLowStrings(), secretRules: newLowStrings(), secretPrints: newStrings(),
	}
	b.labels = listColumn{kind: "Map(LowCardinality(String), String)", parts: []wireColumn{&b.labelKeys, &b.labelValues}}
	b.columns = proto.Input{
		{Name: "id", Data: &b.id}, {Name: "time", Data: &b.time}, {Name: "kind", Data: &b.kind}, {Name: "access", Data: &b.access},
		{Name: "agent_id", Data: &b.agentID}, {Name: "action", Data: &b.action}, {Name: "method", Data: &b.method},
		{Name: "service", Data: &b.service}, {Name: "resource", Data: &b.resource}, {Name: "destination", Data: &b.destination},
		{Name: "credential_id", Data: &b.credentialID}, {Name: "owner_id", Data: &b.ownerID}, {Name: "on_behalf_of", Data: b.onBehalfOf},
		{Name: "session_id", Data: &b.sessionID}, {Name: "trace_id", Data: &b.traceID}, {Name: "agent_version", Data: &b.agentVersion},
		{Name: "cohort", Data: &b.cohort}, {Name: "source_ip", Data: &b.sourceIP}, {Name: "asn", Data: &b.asn},
		{Name: "user_agent", Data: &b.userAgent}, {Name: "status", Data: &b.status}, {Name: "request_bytes", Data: &b.requestBytes},
		{Name: "response_bytes", Data: &b.responseBytes}, {Name: "duration_ms", Data: &b.duration}, {Name: "community", Data: &b.community},
		{Name: "reply_to", Data: &b.replyTo}, {Name: "mentions", Data: b.mentions}, {Name: "content", Data: &b.content},
		{Name: "labels", Data: &b.labels}, {Name: "secrets.field", Data: b.secretFields},
		{Name: "secrets.rule", Data: b.secretRules}, {Name: "secrets.fingerprint", Data: b.secretPrints},
		{Name: "late", Data: &b.late}, {Name: "topic", Data: &b.topic}, {Name: "partition", Data: &b.partition},
		{Name: "offset", Data: &b.offset}, {Name: "idx", Data: &b.idx},
	}
	return b
}

// fixedBytes is what the columns of fixed width take for an event, for Bytes.
const fixedBytes = 120

// Append adds one event. Nothing of it is kept but copies. After a failed Flush there must be no Append until one
// has succeeded: the rows that are sent again must be the same.
func (w *Block) Append(e *event.Event, pos event.Position, late bool) {
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
	w.bytes += fixedBytes + len(e.ID) + len(e.AgentID) + len(e.Resource) + len(e.Destination) + len(e.CredentialID) +
		len(e.OwnerID) + len(e.SessionID) + len(e.TraceID) + len(e.SourceIP) + len(e.ReplyTo) + len(e.Content)
	b.id.Append(e.ID)
	b.time.Append(e.Time)
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
	for _, l := range e.Labels {
		b.labelKeys.Append(l.Key)
		b.labelValues.Append(l.Value)
		w.bytes += len(l.Key) + len(l.Value) + 8
	}
	b.labels.endRow()
	for _, s := range e.Secrets {
		b.secretFields.add(s.Field)
		b.secretRules.add(s.Rule)
		b.secretPrints.add(s.Fingerprint)
	}
	b.secretFields.endRow()
	b.secretRules.endRow()
	b.secretPrints.endRow()
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
func (w *Block) Rows() int { return w.rows }

// Bytes is about how much memory the waiting events take. Events differ in size by four orders of magnitude, so
// whoever fills a block should look at it too.
func (w *Block) Bytes() int { return w.bytes }

// Flush writes the rows, oldest day first, and forgets each day once the server has it. The insert itself asks
// whether a later owner has claimed the partition; if so the error is pipeline.ErrLost. One that began before the
// claim is ended by Fence. After any other error Flush may be called again: what did arrive is known by its token
// and is not stored twice.
func (w *Block) Flush(ctx context.Context) error {
	for _, day := range slices.Sorted(maps.Keys(w.days)) {
		b := w.days[day]
		token := fmt.Sprintf("%s/%d/%d-%d/%d", w.claim.Topic, w.claim.Partition, b.firstOffset, b.lastOffset, day)
		if err := w.store.insert(ctx, insertEvents, w.claim, b.columns, token); err != nil {
			return fmt.Errorf("insert %d events of %s, offsets %d to %d of %s/%d: %w", b.id.Rows(),
				time.UnixMicro(day*microsPerDay).UTC().Format(time.DateOnly), b.firstOffset, b.lastOffset,
				w.claim.Topic, w.claim.Partition, err)
		}
		w.rows -= b.id.Rows()
		for i := range b.columns {
			b.columns[i].Data.(proto.Resettable).Reset()
		}
		delete(w.days, day)
		if len(w.free) < 8 {
			w.free = append(w.free, b)
		}
	}
	w.bytes = 0
	return nil
}

// guard is a condition that fails the query when a later owner than the one asking has claimed the partition.
const guard = "throwIf((SELECT max(epoch) FROM checkpoints WHERE topic = {guard_topic:String} AND partition = {guard_partition:Int32}) > {guard_epoch:UInt64}, 'astray: a later owner has claimed the partition') = 0"

var (
	insertEvents = guardedInsert("events", newBlock().columns)
	insertStates = guardedInsert("agent_state", newStateBlock().columns)
)

// guardedInsert is the statement for columns of these names and types, which must be those of the table.
func guardedInsert(table string, columns proto.Input) string {
	var names, kinds []string
	for _, c := range columns {
		names = append(names, "`"+c.Name+"`")
		kinds = append(kinds, "`"+c.Name+"` "+string(c.Data.Type()))
	}
	list := strings.Join(names, ", ")
	return "INSERT INTO " + table + " (" + list + ") SELECT " + list + " FROM input(" + quote(strings.Join(kinds, ", ")) + ") WHERE " + guard + " FORMAT Native"
}

// queryPrefix begins the query ids of a partition's inserts; an epoch follows.
func queryPrefix(topic string, partition int32) string {
	return fmt.Sprintf("astray/%s/%d/", topic, partition)
}

// maxSilence is how long the server waits for a client that has begun to send rows.
const maxSilence = time.Minute

// insert sends one block of columns on behalf of a partition's owner. The block becomes one part or nothing.
func (s *Store) insert(ctx context.Context, statement string, owner pipeline.Checkpoint, columns proto.Input, token string) error {
	ctx, cancel := context.WithTimeout(ctx, s.insertTimeout)
	defer cancel()
	settings := []ch.Setting{
		{Key: "async_insert", Value: "0", Important: true},
		// One insert is one part: that is what makes it atomic.
		{Key: "max_insert_threads", Value: "1", Important: true},
		{Key: "min_insert_block_size_rows", Value: "100000000", Important: true},
		{Key: "min_insert_block_size_bytes", Value: "10000000000", Important: true},
		{Key: "max_insert_block_size", Value: "100000000", Important: true},
		{Key: "max_partitions_per_insert_block", Value: "1", Important: true},
		{Key: "throw_on_max_partitions_per_insert_block", Value: "1", Important: true},
		// The server gives up when the client has: an insert that nobody waits for must not linger.
		{Key: "max_execution_time", Value: fmt.Sprint(max(1, int(s.insertTimeout/time.Second))), Important: true},
		// … nor wait for the rest of a row of a client that was frozen while it sent it: that wait nothing else ends, and a new owner
		// could not begin. Between rows it looks every second whether it was killed.
		{Key: "receive_timeout", Value: fmt.Sprint(max(1, int(min(s.insertTimeout, maxSilence)/time.Second))), Important: true},
		{Key: "poll_interval", Value: "1", Important: true},
		// Skip indexes and statistics are made by the first merge, which makes them in any case. A part that was not merged is a block
		// long: there an index of four granules has next to nothing to skip.
		{Key: "materialize_skip_indexes_on_insert", Value: "0"},
		{Key: "materialize_statistics_on_insert", Value: "0"},
	}
	if token != "" {
		settings = append(settings,
			ch.Setting{Key: "insert_deduplicate", Value: "1", Important: true},
			ch.Setting{Key: "insert_deduplication_token", Value: token, Important: true})
	}
	return s.native(ctx, ch.Query{
		Body: statement, QueryID: s.queryID(owner), Input: columns, Parameters: guardParameters(owner), Settings: settings,
	})
}

func guardParameters(owner pipeline.Checkpoint) []proto.Parameter {
	return []proto.Parameter{
		{Key: "guard_epoch", Value: quote(fmt.Sprint(owner.Epoch))},
		{Key: "guard_partition", Value: quote(fmt.Sprint(owner.Partition))},
		{Key: "guard_topic", Value: quote(quoteText(owner.Topic))},
	}
}
