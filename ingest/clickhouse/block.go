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
	"github.com/google/uuid"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/pipeline"
)

const microsPerDay = 86_400_000_000

// Block collects events of one partition in columns and writes them in blocks, one for each day of event time,
// because an insert into one partition of the table is atomic. It speaks ch-go, the layer under clickhouse-go,
// which costs a quarter of the CPU of appending rows. It belongs to one goroutine.
type Block struct {
	store     *Store
	client    *ch.Client // dialled when needed, dropped after an error
	topic     string
	partition int32
	epoch     uint64
	days      map[int64]*block
	free      []*block
	rows      int
}

// NewBlock returns an empty block for the owner of a partition that the claim names.
func (s *Store) NewBlock(claim pipeline.Checkpoint) *Block {
	return &Block{store: s, topic: claim.Topic, partition: claim.Partition, epoch: claim.Epoch, days: map[int64]*block{}}
}

var _ pipeline.Block = (*Block)(nil)

// Close gives the block's connection back.
func (w *Block) Close() error {
	if w.client == nil {
		return nil
	}
	c := w.client
	w.client = nil
	return c.Close()
}

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
func (w *Block) Rows() int { return w.rows }

// Flush writes the rows, oldest day first, and forgets each day once the server has it. The insert itself asks
// whether a later owner has claimed the partition, and fails if so; one that began before the claim is killed by
// Fence. After an error Flush may be called again: what did arrive is known by its token and not stored twice.
func (w *Block) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.store.insertTimeout)
	defer cancel()
	for _, day := range slices.Sorted(maps.Keys(w.days)) {
		b := w.days[day]
		if w.client == nil {
			client, err := ch.Dial(ctx, w.store.dial)
			if err != nil {
				return fmt.Errorf("clickhouse: %w", err)
			}
			w.client = client
		}
		err := w.client.Do(ctx, ch.Query{
			Body:    insertEvents,
			QueryID: fmt.Sprintf("%s%d/%s", queryPrefix(w.topic, w.partition), w.epoch, uuid.NewString()),
			Input:   b.columns,
			Parameters: ch.Parameters(map[string]any{
				"guard_topic": w.topic, "guard_partition": w.partition, "guard_epoch": w.epoch}),
			Settings: []ch.Setting{
				{Key: "async_insert", Value: "0", Important: true},
				{Key: "insert_deduplicate", Value: "1", Important: true},
				{Key: "insert_deduplication_token", Important: true,
					Value: fmt.Sprintf("%s/%d/%d-%d/%d", w.topic, w.partition, b.firstOffset, b.lastOffset, day)},
				// One insert is one part: that is what makes it atomic.
				{Key: "max_insert_threads", Value: "1", Important: true},
				{Key: "min_insert_block_size_rows", Value: "100000000", Important: true},
				{Key: "min_insert_block_size_bytes", Value: "10000000000", Important: true},
				{Key: "max_insert_block_size", Value: "100000000", Important: true},
			},
		})
		if err != nil {
			w.Close()
			return fmt.Errorf("insert %d events of %s, offsets %d to %d of %s/%d: %w", b.id.Rows(),
				time.UnixMicro(day*microsPerDay).UTC().Format(time.DateOnly), b.firstOffset, b.lastOffset, w.topic, w.partition, err)
		}
		w.rows -= b.id.Rows()
		for i := range b.columns {
			b.columns[i].Data.(proto.Resettable).Reset()
		}
		delete(w.days, day)
		w.free = append(w.free, b)
	}
	return nil
}

// guard is a condition that fails the query when a later owner than the one asking has claimed the partition.
const guard = "throwIf((SELECT max(epoch) FROM checkpoints WHERE topic = {guard_topic:String} AND partition = {guard_partition:Int32}) > {guard_epoch:UInt64}, 'astray: a later owner has claimed the partition') = 0"

// insertEvents names each column with its type, in the order of newBlock.
var insertEvents = func() string {
	var names, types []string
	for _, c := range newBlock().columns {
		names = append(names, c.Name)
		types = append(types, c.Name+" "+string(c.Data.Type()))
	}
	list := strings.Join(names, ", ")
	return "INSERT INTO events (" + list + ") SELECT " + list + " FROM input('" + strings.ReplaceAll(strings.Join(types, ", "), "'", `\'`) + "') WHERE " + guard + " FORMAT Native"
}()

// queryPrefix begins the query ids of a partition's inserts; an epoch follows.
func queryPrefix(topic string, partition int32) string {
	return fmt.Sprintf("astray/%s/%d/", topic, partition)
}
