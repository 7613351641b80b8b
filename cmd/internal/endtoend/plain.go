package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

// plain is what a good engineer writes in an afternoon who wants events of a topic in a table and nothing else.
func plain(ctx context.Context, stop <-chan struct{}, j job) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
		case <-ctx.Done():
		}
		cancel()
	}()
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{ID: j.Group, Brokers: j.Brokers, Topics: []string{j.Topic}, StartOffset: kafkago.FirstOffset})
	if err != nil {
		return err
	}
	defer group.Close()
	failed := make(chan error, 1)
	for {
		next := make(chan *kafkago.Generation, 1)
		go func() {
			if gen, err := group.Next(ctx); err == nil {
				next <- gen
			}
		}()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		case gen := <-next:
			for _, p := range gen.Assignments[j.Topic] {
				gen.Start(func(ctx context.Context) {
					if err := copyPartition(ctx, gen, j, p.ID, p.Offset); err != nil && ctx.Err() == nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		}
	}
}

func copyPartition(ctx context.Context, gen *kafkago.Generation, j job, partition int, offset int64) error {
	conn, err := kafkago.DialLeader(ctx, "tcp", j.Brokers[0], j.Topic, partition)
	if err != nil {
		return err
	}
	defer conn.Close()
	if offset < 0 {
		offset, err = conn.ReadFirstOffset()
		if err != nil {
			return err
		}
	}
	if _, err := conn.Seek(offset, kafkago.SeekAbsolute); err != nil {
		return err
	}
	db, err := open(j.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	var d decode.Decoder
	var c columns
	buf := make([]byte, 1<<20)
	last := time.Now()
	for ctx.Err() == nil {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		batch := conn.ReadBatchWith(kafkago.ReadBatchConfig{MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 250 * time.Millisecond})
		for {
			n, err := batch.Read(buf)
			if err != nil {
				break
			}
			var ev event.Event
			if err := d.Decode(buf[:n], time.Now().UnixMicro(), &ev); err != nil {
				return err
			}
			c.append(&ev)
			offset = batch.Offset()
		}
		// At the end of the log a fetch ends with the broker's word that nothing came in time.
		if err := batch.Close(); err != nil && !errors.Is(err, kafkago.RequestTimedOut) {
			return fmt.Errorf("fetch: %w", err)
		}
		if len(c.id) >= 50_000 || len(c.id) > 0 && time.Since(last) > time.Second {
			if err := c.insert(ctx, db); err != nil {
				return err
			}
			if err := gen.CommitOffsets(map[string]map[int]int64{j.Topic: {partition: offset}}); err != nil {
				return err
			}
			last = time.Now()
		}
	}
	return nil
}

// columns are a block of events.
type columns struct {
	id, kind, access, agent, action, method, service, resource, destination, credential, owner, session, trace, version, cohort, source, userAgent, community, reply, content []string

	onBehalf, mentions [][]string
	time               []time.Time
	asn                []uint32
	status             []int32
	sent, received     []int64
	duration           []float64
	labels             []map[string]string
}

func (c *columns) append(e *event.Event) {
	c.id, c.kind, c.access, c.agent = append(c.id, e.ID), append(c.kind, e.Kind.String()), append(c.access, e.Access.String()), append(c.agent, e.AgentID)
	c.action, c.method, c.service, c.resource = append(c.action, e.Action), append(c.method, e.Method), append(c.service, e.Service), append(c.resource, e.Resource)
	c.destination, c.credential, c.owner = append(c.destination, e.Destination), append(c.credential, e.CredentialID), append(c.owner, e.OwnerID)
	c.session, c.trace, c.version, c.cohort = append(c.session, e.SessionID), append(c.trace, e.TraceID), append(c.version, e.AgentVersion), append(c.cohort, e.Cohort)
	c.source, c.userAgent, c.community, c.reply = append(c.source, e.SourceIP), append(c.userAgent, e.UserAgent), append(c.community, e.Community), append(c.reply, e.ReplyTo)
	c.content, c.onBehalf, c.mentions = append(c.content, e.Content), append(c.onBehalf, e.OnBehalfOf), append(c.mentions, e.Mentions)
	c.time, c.asn, c.status = append(c.time, time.UnixMicro(e.Time)), append(c.asn, e.ASN), append(c.status, e.Status)
	c.sent, c.received, c.duration = append(c.sent, e.RequestBytes), append(c.received, e.ResponseBytes), append(c.duration, e.DurationMS)
	var labels map[string]string
	if len(e.Labels) > 0 {
		labels = make(map[string]string, len(e.Labels))
		for _, l := range e.Labels {
			labels[l.Key] = l.Value
		}
	}
	c.labels = append(c.labels, labels)
}

func (c *columns) insert(ctx context.Context, db driver.Conn) error {
	b, err := db.PrepareBatch(native.Context(ctx, native.WithSettings(native.Settings{"async_insert": 0})), `INSERT INTO events (id, kind, access, agent_id, action, method, service, resource,
		destination, credential_id, owner_id, session_id, trace_id, agent_version, cohort, source_ip, user_agent, community, reply_to, content,
		on_behalf_of, mentions, time, asn, status, request_bytes, response_bytes, duration_ms, labels)`)
	if err != nil {
		return err
	}
	for i, column := range []any{c.id, c.kind, c.access, c.agent, c.action, c.method, c.service, c.resource, c.destination, c.credential, c.owner,
		c.session, c.trace, c.version, c.cohort, c.source, c.userAgent, c.community, c.reply, c.content, c.onBehalf, c.mentions, c.time, c.asn, c.status,
		c.sent, c.received, c.duration, c.labels} {
		if err := b.Column(i).Append(column); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if err := b.Send(); err != nil {
		return err
	}
	c.id, c.kind, c.access, c.agent, c.action, c.method, c.service = c.id[:0], c.kind[:0], c.access[:0], c.agent[:0], c.action[:0], c.method[:0], c.service[:0]
	c.resource, c.destination, c.credential, c.owner, c.session = c.resource[:0], c.destination[:0], c.credential[:0], c.owner[:0], c.session[:0]
	c.trace, c.version, c.cohort, c.source, c.userAgent = c.trace[:0], c.version[:0], c.cohort[:0], c.source[:0], c.userAgent[:0]
	c.community, c.reply, c.content, c.onBehalf, c.mentions = c.community[:0], c.reply[:0], c.content[:0], c.onBehalf[:0], c.mentions[:0]
	c.time, c.asn, c.status, c.sent, c.received = c.time[:0], c.asn[:0], c.status[:0], c.sent[:0], c.received[:0]
	c.duration, c.labels = c.duration[:0], c.labels[:0]
	return nil
}
