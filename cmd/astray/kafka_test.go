package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/deploy/embedded/kraft"
	"github.com/astray-dev/astray/ingest/event"
)

// theatre is Apache Kafka and ClickHouse, for the program as a process.
type theatre struct {
	bus    *kraft.Cluster
	server *embedded.Server
	conn   driver.Conn
	client *kgo.Client
	told   []string // ids of events that were written
}

func openTheatre(t *testing.T, ctx context.Context) *theatre {
	t.Helper()
	if os.Getenv("ASTRAY_TEST_KAFKA") == "" {
		t.Skip("make test-kafka runs it")
	}
	s := &theatre{}
	var err error
	if s.bus, err = kraft.Start(ctx, kraft.Options{Dir: t.TempDir()}); errors.Is(err, kraft.ErrNotHere) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.bus.Kill)
	s.server = embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	s.conn = embeddedtest.Connect(t, s.server.DSN())
	s.client = s.franz(t)
	return s
}

// franz is a client of the brokers beside Astray's.
func (s *theatre) franz(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.bus.Brokers(kraft.Plain)...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(3_000_000), kgo.MetadataMinAge(50 * time.Millisecond), kgo.UnknownTopicRetries(-1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// database makes an empty database and returns its DSN.
func (s *theatre) database(t *testing.T, ctx context.Context, name string) string {
	t.Helper()
	if err := s.conn.Exec(ctx, "CREATE DATABASE "+name+" ENGINE = Atomic"); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(s.server.DSN(), "/default", "/"+name, 1)
}

// events are n records of events with ids that begin alike, spread over partitions.
func events(name string, n int, partitions int32) (out []*kgo.Record) {
	for i := range n {
		out = append(out, &kgo.Record{Partition: int32(i) % partitions, Key: fmt.Appendf(nil, "agent-%d", i%7), Value: fmt.Appendf(nil,
			`{"id":"%s-%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get"}`, name, i, time.Now().UnixMilli(), i%7)})
	}
	return out
}

// tell writes events that are to be stored.
func (s *theatre) tell(t *testing.T, ctx context.Context, cl *kgo.Client, topic, name string, n int, partitions int32) {
	t.Helper()
	records := events(name, n, partitions)
	for i, r := range records {
		r.Topic = topic
		s.told = append(s.told, fmt.Sprintf("%s-%d", name, i))
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// stored waits until the database holds as many events as are wanted, and checks that they are those, each once.
func (s *theatre) stored(t *testing.T, ctx context.Context, db string, want []string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var n uint64
	var err error
	for n < uint64(len(want)) {
		if err = s.conn.QueryRow(ctx, "SELECT uniqExact(id) FROM "+db+".events").Scan(&n); err != nil {
			n = 0 // the tables may not be there yet
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %d of %d events are stored (%v)", db, n, len(want), err)
		}
	}
	var got []string
	if err := s.conn.QueryRow(ctx, "SELECT arraySort(groupArray(toString(id))) FROM "+db+".events").Scan(&got); err != nil {
		t.Fatal(err)
	}
	want = slices.Clone(want)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d rows, %d are wanted, or they are others", db, len(got), len(want))
	}
}

// configure writes a configuration file.
func configure(t *testing.T, kafka, dsn string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "astray.yaml")
	text := "kafka:\n" + kafka + "clickhouse:\n  dsn: " + dsn + "\npipeline:\n  checkpoint_every: 1s\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func secret(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Each listener is reached with a configuration file alone, topics are made, and events become rows.
func TestApacheRunAtEachListener(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := openTheatre(t, ctx)
	c := s.bus.Certificates
	ca := "  tls:\n    enabled: true\n    ca_file: " + c.CA + "\n"
	sasl := func(mechanism, password string) string {
		return "  sasl:\n    mechanism: " + mechanism + "\n    user: " + kraft.User + "\n    password_file: " + secret(t, password) + "\n"
	}
	at := func(l kraft.Listener) string {
		return "  brokers: [\"" + s.bus.Brokers(l)[0] + "\"]\n  topic: events." + strings.ToLower(string(l)) + "\n"
	}
	for l, how := range map[kraft.Listener]string{
		kraft.Plain: "", kraft.TLS: ca, kraft.MTLS: ca + "    cert_file: " + c.ClientCert + "\n    key_file: " + c.ClientKey + "\n",
		kraft.SASL: ca + sasl("PLAIN", kraft.Password), kraft.SCRAM: sasl("SCRAM-SHA-512", kraft.Password),
	} {
		db := "at_" + strings.ToLower(string(l))
		file := configure(t, at(l)+"  partitions: 2\n"+how, s.database(t, ctx, db))
		var out bytes.Buffer
		if code := execute([]string{"check-config", file}, nil, &out, &out); code != 0 {
			t.Fatalf("%s: check-config: %d %s", l, code, out.String())
		}
		p := launch(t, []string{"ASTRAY_HTTP_LISTEN=off"}, "run", "--config", file)
		p.says(t, "partition taken over")
		s.told = nil
		s.tell(t, ctx, s.client, "events."+strings.ToLower(string(l)), db, 20, 2)
		s.stored(t, ctx, db, s.told)
		p.signal(t, syscall.SIGTERM)
		if code := p.end(t); code != 0 {
			t.Errorf("%s: exit status %d", l, code)
		}
	}
	// A password that is wrong ends it, with what the broker said; a certificate that nobody vouches for is waited out, by name.
	dsn := s.database(t, ctx, "refused")
	p := launch(t, []string{"ASTRAY_HTTP_LISTEN=off"}, "run", "--config", configure(t, at(kraft.SCRAM)+sasl("SCRAM-SHA-512", "wrong"), dsn))
	p.says(t, "SASL Authentication Failed")
	if code := p.end(t); code != 1 {
		t.Errorf("a wrong password: exit status %d", code)
	}
	p = launch(t, []string{"ASTRAY_HTTP_LISTEN=off"}, "run", "--config", configure(t, at(kraft.TLS)+strings.Replace(ca, c.CA, c.StrangerCA, 1), dsn))
	p.says(t, "waiting_for=Kafka", "unknown authority")
}

func ask[R kmsg.Response](t *testing.T, ctx context.Context, cl *kgo.Client, req kmsg.Request) R {
	t.Helper()
	res, err := cl.Request(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return res.(R)
}

func makeTopic(t *testing.T, ctx context.Context, cl *kgo.Client, name string, partitions int32) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "max.message.bytes", Value: kmsg.StringPtr("4000000")}}
	req.Topics = append(req.Topics, topic)
	for _, r := range ask[*kmsg.CreateTopicsResponse](t, ctx, cl, req).Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
}

// metric sums a metric's values over all labels but those that are named.
func metric(t *testing.T, at, name string, labels ...string) (sum float64) {
	t.Helper()
	res, err := http.Get("http://" + at + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
next:
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			t.Fatal(line, err)
		}
		sum += v
	}
	return sum
}

// Whatever may come up in a topic: codecs, transactions that are given up, tombstones, messages that are too large, partitions
// that are added, records that are deleted before they are read, and a topic that is deleted and made anew. In the end each event
// that counts is a row, once.
func TestApacheRunThroughWhateverTopicsDo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := openTheatre(t, ctx)
	const topic = "agent.events"
	makeTopic(t, ctx, s.client, topic, 1)
	listen := "127.0.0.1:" + strconv.Itoa(port(t))
	file := configure(t, "  brokers: [\""+s.bus.Brokers(kraft.Plain)[0]+"\"]\n", s.database(t, ctx, "odd"))
	run := func() *program {
		p := launch(t, []string{"ASTRAY_HTTP_LISTEN=" + listen}, "run", "--config", file)
		p.says(t, "partition taken over")
		return p
	}
	stop := func(p *program) {
		t.Helper()
		p.signal(t, syscall.SIGTERM)
		if code := p.end(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
	}
	p := run()

	// Partitions that are added are found while everything else goes on.
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.TimeoutMillis = 10_000
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: 3}}
	for _, r := range ask[*kmsg.CreatePartitionsResponse](t, ctx, s.client, grow).Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
	for name, codec := range map[string]kgo.CompressionCodec{"plain": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		s.tell(t, ctx, s.franz(t, kgo.ProducerBatchCompression(codec)), topic, name, 50, 1)
	}
	tx := s.franz(t, kgo.TransactionalID("astray-test"), kgo.ConsiderMissingTopicDeletedAfter(time.Minute))
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		kept := len(s.told)
		s.tell(t, ctx, tx, topic, fmt.Sprint("transaction-", i), 20, 1)
		if end == kgo.TryAbort {
			s.told = s.told[:kept]
		}
		if err := tx.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*kgo.Record{{Topic: topic, Key: []byte("agent-1")}, {Topic: topic, Value: bytes.Repeat([]byte{'x'}, event.MaxMessage+1)}} {
		if err := s.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	wide := s.franz(t)
	s.tell(t, ctx, wide, topic, "wide", 90, 3)
	s.stored(t, ctx, "odd", s.told)
	var codes []string
	for deadline := time.Now().Add(patience); len(codes) < 2 && time.Now().Before(deadline); {
		if err := s.conn.QueryRow(ctx, "SELECT arraySort(groupArray(toString(code))) FROM odd.dead_letters FINAL").Scan(&codes); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"empty", "too_large"}; !slices.Equal(codes, want) {
		t.Errorf("dead letters: %q, want %q", codes, want)
	}
	stop(p)

	// Records are deleted while nobody reads.
	const written, deleted = 50, 20
	var at int64
	end := kmsg.NewPtrListOffsetsRequest()
	end.ReplicaID = -1
	end.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0, Timestamp: -1, CurrentLeaderEpoch: -1}}}}
	for _, r := range ask[*kmsg.ListOffsetsResponse](t, ctx, wide, end).Topics {
		at = r.Partitions[0].Offset
	}
	kept := len(s.told)
	s.tell(t, ctx, wide, topic, "retained", written, 1)
	s.told = slices.Delete(s.told, kept, kept+deleted)
	remove := kmsg.NewPtrDeleteRecordsRequest()
	remove.TimeoutMillis = 10_000
	remove.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: at + deleted}}}}
	for _, r := range ask[*kmsg.DeleteRecordsResponse](t, ctx, wide, remove).Topics {
		if err := kerr.ErrorForCode(r.Partitions[0].ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
	p = run()
	p.says(t, "records were deleted before they were read", fmt.Sprint("records=", deleted))
	s.stored(t, ctx, "odd", s.told)
	if n := metric(t, listen, "astray_kafka_gap_records_total", `reason="retention"`); n != deleted {
		t.Errorf("counted %v missing records, %d are", n, deleted)
	}

	// The topic is deleted and made anew, and gets more records than it had, before its readers look again.
	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.TimeoutMillis = 10_000
	gone.TopicNames, gone.Topics = []string{topic}, []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr(topic)}}
	for _, r := range ask[*kmsg.DeleteTopicsResponse](t, ctx, wide, gone).Topics {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatal(err)
		}
	}
	makeTopic(t, ctx, s.client, topic, 3)
	s.tell(t, ctx, s.franz(t), topic, "anew", 1500, 3)
	s.stored(t, ctx, "odd", s.told)
	if n := metric(t, listen, "astray_kafka_gap_records_total", `reason="recreated"`); n < 3 { // one that is taken over at that very time may be told twice
		t.Errorf("counted %v partitions that were made anew, 3 were", n)
	}
	stop(p)

	// And the positions of old and new records are told apart after a restart.
	p = run()
	s.tell(t, ctx, s.franz(t), topic, "last", 30, 3)
	s.stored(t, ctx, "odd", s.told)
	stop(p)
}
