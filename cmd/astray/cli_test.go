package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/file"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// call runs a command line and returns its exit status and what it wrote.
func call(args ...string) (code int, out, errs string) {
	var o, e strings.Builder
	code = execute(args, strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	n := 0
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.Parent() != nil && c.Parent().Name() == "completion" {
			return
		}
		n++
		if c.Short == "" || !strings.HasPrefix(c.Example, "  ") || !strings.Contains(c.Example, "astray") {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(rootCommand())
	if n < 20 {
		t.Errorf("looked at %d commands", n)
	}
}

func TestExitStatusAndWhatIsSaid(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("kafka:\n  broker: x\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string // in either output
	}{
		{"", 0, "Available Commands"},
		{"version", 0, "astray " + version},
		{"--help", 0, "Usage:"},
		{"completion zsh", 0, "#compdef astray"},
		{"rnu", 2, `there is no command "rnu"; did you mean run?`},
		{"alerts lits", 2, `there is no command "lits"; did you mean list?`},
		{"run --nope", 2, "unknown flag: --nope"},
		{"run --log-format xml", 2, `--log-format: "xml" is none of text, json`},
		{"run --alert-budget many", 2, `invalid argument "many" for "--alert-budget"`},
		{"run --alert-budget 0", 2, "detect.alert_budget: 0 is not between"},
		{"run --kafka here", 2, `kafka.brokers: "here" is not host:port`},
		{"run --config /no/such", 2, "/no/such: no such file"},
		{"run --config " + bad, 2, "bad.yaml:2: kafka.broker: is no key; did you mean brokers?"},
		{"check-config " + bad, 2, `bad.yaml:4: log.level: "loud" is none of`},
		{"check-config", 2, "accepts 1 arg(s)"},
		{"check-config --show ../../deploy/astray.yaml", 0, "kafka.group                          astray"},
		{"alerts list --state opened", 2, `--state: "opened" is none of open, acknowledged, closed`},
		{"alerts list --alerts-format siem", 2, `--alerts-format: "siem" is none of native, ocsf`},
		{"tune --events x", 2, "--with or --set: say what is to change"},
		{"tune --set alert_budget=3", 2, "--events or --history: name one of them"},
		{"tune --events x --set kafka.topic=x", 2, `--set: "kafka.topic" changes no alerts; there are detect.alert_budget`},
		{"tune --events x --set alert_budget", 2, `--set: "alert_budget" is not like alert_budget=3`},
		{"tune --events x --set alert_budget=-1", 2, "ASTRAY_DETECT_ALERT_BUDGET: "},
		{"tune --history yesterday --set alert_budget=3 --clickhouse-dsn clickhouse://h:1/d", 2, `--history: "yesterday" is no span`},
		{"tune --shares --set alert_budget=3 --set detectors=burst,worm", 0, "burst     1.5                                0.0015\nworm "},
		{"test nowhere", 2, "nowhere"},
		{"test --seeds 3..1", 2, `--seeds: "3..1" is not like`},
		{"replay --alerts-format siem", 2, `--alerts-format: "siem" is none of native, ocsf`},
		{"alerts list --since yesterday", 2, `--since: "yesterday" is neither`},
		{"alerts close x --verdict maybe", 2, `verdict: "maybe" is none of true, benign, unsure`},
		{"alerts list", 2, "name the database"},
		{"suppress add --why x", 2, "name a detector, an entity or a pattern"},
		{"suppress add --entity x", 2, "why: is needed"},
		{"suppress remove x", 2, "--why: is needed"},
		{"dead-letters show x", 2, "is named topic/partition/offset"},
		{"dead-letters replay --why x", 2, "name letters, or --code or --topic"},
		{"replay --events /no/such", 1, "/no/such"},
		{"replay", 2, "--events: name a file"},
		{"migrate up --clickhouse-dsn mysql://x", 2, "clickhouse.dsn: is not a DSN"},
	} {
		t.Setenv("ASTRAY_WHO", "sam")
		code, out, errs := call(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("astray %s: %d\n%s%s\nwant %d, %s", c.args, code, out, errs, c.code, c.want)
		}
	}
}

// stored fills a database with the events of a file, in blocks of two partitions.
func stored(ctx context.Context, t *testing.T, dsn, events string) *clickhouse.Store {
	t.Helper()
	if _, err := clickhouse.Migrate(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	store, err := clickhouse.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []*clickhouse.Block
	for p := range int32(2) {
		claim := pipeline.Checkpoint{Topic: "agent.events", Partition: p, Epoch: 1}
		if err := store.SaveCheckpoint(ctx, claim); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, store.NewBlock(claim))
	}
	in, err := file.Open(events, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	n := int64(0)
	err = file.Batches(in, noClock, func(b *file.Batch) error {
		for i := range b.Events {
			p := int(n/700) % 2
			blocks[p].Append(&b.Events[i], event.Position{Topic: "agent.events", Partition: int32(p), Offset: n}, false)
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := b.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// A trial over stored events says what one over the file they came from says, to the letter.
func TestTuneSaysTheSameOfStoredEvents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	events := filepath.Join(t.TempDir(), "events.ndjson")
	if code, _, errs := call("simulate", "--agents", "40", "--days", "2", "--seed", "5", "--out", events); code != 0 {
		t.Fatal(errs)
	}
	store := stored(ctx, t, server.DSN(), events)
	defer store.Close()
	_, fromFile, _ := call("tune", "--events", events, "--set", "alert_budget=100")
	_, history, errs := call("tune", "--history", "2026-01-05..2026-01-07T00:00:00Z", "--set", "alert_budget=100", "--clickhouse-dsn", server.DSN())
	if history != fromFile || errs != "" || !strings.Contains(history, "\nAdded:\n+ 2026-01-0") {
		t.Errorf("of the file:\n%s\nstored:\n%s%s", fromFile, history, errs)
	}
}

// An analyst's way through the command line: see, understand, decide, suppress; and a platform engineer's with a
// message that was rejected. Text of agents arrives as text.
func TestTriageAndDeadLettersOnTheCommandLine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	broker := embeddedtest.Kafka(t, 1, []string{"agent.events"})
	t.Setenv("ASTRAY_CLICKHOUSE_DSN", server.DSN())
	t.Setenv("ASTRAY_KAFKA_BROKERS", strings.Join(broker.ListenAddrs(), ","))
	t.Setenv("ASTRAY_WHO", "sam")
	run := func(wantCode int, want string, args ...string) string {
		t.Helper()
		code, out, errs := call(args...)
		if code != wantCode || !regexp.MustCompile(want).MatchString(out+errs) {
			t.Fatalf("astray %s: %d\n%s%s\nwant %d, %s", strings.Join(args, " "), code, out, errs, wantCode, want)
		}
		if strings.ContainsAny(out+errs, "\x1b\u202e") {
			t.Errorf("astray %s: text of agents moves the cursor", strings.Join(args, " "))
		}
		return out
	}
	run(0, "00005  applied", "migrate", "up")
	run(0, "up to date", "migrate", "up")
	store, err := clickhouse.Open(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Now().UTC()
	hostile := "crawler\x1b[2J\u202e'; DROP"
	if err := store.WriteAlerts(ctx, []*alert.Alert{{ID: "3f2a00000001", Revision: 1, Time: now, FirstSeen: now, LastSeen: now, Detector: "scraping", Severity: alert.High, EntityKind: "agent",
		EntityID: hostile, AgentIDs: []string{hostile}, Title: hostile + " reads far more than usual", Reason: "2,310 distinct resources",
		Evidence: []alert.Evidence{{Feature: "reads", Observed: 2310, Expected: 14, Lower: 3, Upper: 41, PValue: 1e-9, WindowSeconds: 600}}, Query: "SELECT 1"},
		{ID: "77aa00000002", Revision: 1, Time: now, FirstSeen: now, LastSeen: now, Detector: "burst", Severity: alert.Low, EntityKind: "agent", EntityID: "other"}}); err != nil {
		t.Fatal(err)
	}
	run(0, `3f2a00000001 .*high +open .*crawler\\u001b\[2J\\u202e`, "alerts", "list", "--severity", "high", "--since", "1h")
	run(0, `^ALERT.*\n$`, "alerts", "list", "--state", "closed")
	run(0, `^\{"activity_id":1,.*"class_uid":2004,.*"uid":"3f2a00000001".*"remediation":`, "alerts", "list", "--alerts-format", "ocsf", "--detector", "scraping")
	run(0, `"state":"open","alert":\{"id":"3f2a00000001"`, "alerts", "list", "--format", "json", "--detector", "scraping")
	run(0, `reads +2310 +14 +3–41`, "alerts", "show", "3f2a")
	run(1, `there is no alert "zz"`, "alerts", "show", "zz")
	run(0, "acknowledged", "alerts", "ack", "3f2a")
	run(1, "acknowledged already", "alerts", "ack", "3f2a")
	run(0, "assigned to kim", "alerts", "assign", "3f2a", "kim", "--who", "lee")
	run(0, "acknowledged", "alerts", "comment", "3f2a", "asked the owner")
	run(0, "acknowledged", "alerts", "severity", "3f2a", "critical")
	run(0, "closed as benign", "alerts", "close", "3f2a", "--verdict", "benign", "--why", "ours")
	run(1, "reopen it first", "alerts", "ack", "3f2a")
	run(0, `(?s)state +closed as benign.*critical, detected as high.*lee  assign kim.*sam  close benign: ours`, "alerts", "show", "3f2a")
	added := run(0, "of the 2 alerts of the last 30 days it would have hidden 1", "suppress", "add", "--entity", "other", "--why", "known", "--until", "90d")
	run(0, `sam +agent other +known`, "suppress", "list")
	run(0, "removed", "suppress", "remove", strings.Fields(added)[0], "--why", "over")
	run(0, `^RULE.*\n$`, "suppress", "list")

	raw := []byte(`{"id":"e1"}`)
	if err := store.WriteDeadLetters(ctx, []pipeline.DeadLetter{
		{Position: event.Position{Topic: "agent.events", Partition: 0, Offset: 5}, Code: "missing_field", Field: "time", Reason: "time: is required", Key: []byte("a"), Raw: raw, Size: len(raw), Time: now.UnixMicro()},
		{Position: event.Position{Topic: "agent.events", Partition: 0, Offset: 6}, Code: "bad_json", Reason: "cut", Raw: raw, Size: 99999, Time: now.UnixMicro()}}); err != nil {
		t.Fatal(err)
	}
	run(0, `agent.events/0/5 .*missing_field +time`, "dead-letters", "list", "--code", "missing_field")
	run(0, `(?s)reason +time: is required.*\{"id":"e1"\}`, "dead-letters", "show", "agent.events/0/5")
	run(1, "there is no dead letter", "dead-letters", "show", "agent.events/0/7")
	run(0, "1 to replay, 1 passed over", "dead-letters", "replay", "--topic", "agent.events", "--why", "fixed", "--dry-run")
	run(0, "(?s)agent.events/0/6 is passed over: it was cut.*1 replayed, 1 passed over", "dead-letters", "replay", "--topic", "agent.events", "--why", "fixed")
	run(0, "it was replayed at .*\n0 replayed, 1 passed over", "dead-letters", "replay", "agent.events/0/5", "--why", "again")
	run(0, "1 replayed", "dead-letters", "replay", "agent.events/0/5", "--why", "again", "--again")
	// The headers of a CloudEvent in binary mode go out with it; without all of them it is not what was sent.
	ce := []kafka.Header{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("\x1b7")}}
	if err := store.WriteDeadLetters(ctx, []pipeline.DeadLetter{
		{Position: event.Position{Topic: "agent.events", Offset: 7}, Code: "bad_time", Key: []byte("a"), Raw: raw, Size: len(raw), Headers: ce, HeadersSize: 14 + 3 + 5 + 2},
		{Position: event.Position{Topic: "agent.events", Offset: 8}, Code: "bad_time", Raw: raw, Size: len(raw), Headers: ce, HeadersSize: 9999},
		{Position: event.Position{Topic: "agent.events", Offset: 9}, Code: "bad_time", Raw: raw, Size: len(raw), HeadersSize: 43,
			Headers: []kafka.Header{{Key: "x", Value: []byte("[secret:github-pat:fp_00112233445566778899aabbcc]")}}}}); err != nil {
		t.Fatal(err)
	}
	run(0, `(?s)header +ce_specversion: 1.0.*header +ce_id: \\u001b7`, "dead-letters", "show", "agent.events/0/7")
	run(0, "1 replayed, 2 passed over", "dead-letters", "replay", "--code", "bad_time", "--why", "fixed")
	if got := lastOf(ctx, t, broker.ListenAddrs()); string(got.Value) != string(raw) || string(got.Key) != "a" || len(got.Headers) != 2 || got.Headers[1].Key != "ce_id" || string(got.Headers[1].Value) != "\x1b7" {
		t.Errorf("replayed as %+v", got)
	}
	if out := run(0, "agent.events/0/6", "dead-letters", "list", "--waiting"); strings.Contains(out, "agent.events/0/5") {
		t.Errorf("a replayed letter waits still:\n%s", out)
	}
}

// lastOf is the record that was written to the topic of events last.
func lastOf(ctx context.Context, t *testing.T, brokers []string) *kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("agent.events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd().Relative(-1)))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		if all := fetches.Records(); len(all) > 0 {
			return all[len(all)-1]
		}
	}
}
