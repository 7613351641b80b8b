package ledger_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	os.Exit(m.Run())
}

func start(t *testing.T) (context.Context, string, *ledger.Ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	if _, err := clickhouse.Migrate(ctx, server.DSN()); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ctx, server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, server.DSN(), l
}

// Two people act at once: nothing is lost, both and the view in the database derive one state, and a benign verdict
// is told with the span of its alert until it is overruled.
func TestDecisionsAreKept(t *testing.T) {
	ctx, dsn, l := start(t)
	store, err := clickhouse.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	err = store.WriteAlerts(ctx, []*alert.Alert{
		{ID: "a1", Revision: 1, Time: noon, FirstSeen: noon.Add(-time.Minute), LastSeen: noon.Add(time.Minute), Detector: "burst", Severity: alert.High,
			EntityKind: "agent", EntityID: "x", AgentIDs: []string{"x", "y"}, SuppressedBy: "rule"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, who := range []string{"sam", "kim"} {
		wg.Go(func() {
			for range 5 {
				if _, err := l.Append(ctx, triage.Action{AlertID: "a1", Who: who, Kind: triage.Comment, Why: "it's \\ \x00 '; DROP TABLE alerts; --"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	at := time.Now().UTC().Add(time.Second)
	step := func(kind triage.Kind, value string) {
		t.Helper()
		at = at.Add(time.Second)
		if _, err := l.Append(ctx, triage.Action{AlertID: "a1", Who: "sam", Kind: kind, Value: value, Time: at}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(benign int) {
		t.Helper()
		all, err := l.Actions(ctx, "a1")
		if err != nil {
			t.Fatal(err)
		}
		want := triage.Derive(all)
		var state, assignee, verdict, severity, by string
		var n uint64
		if err := l.Conn().QueryRow(ctx, "SELECT state, assignee, verdict, severity, actions, suppressed_by FROM alerts_latest WHERE id = 'a1'").
			Scan(&state, &assignee, &verdict, &severity, &n, &by); err != nil {
			t.Fatal(err)
		}
		if want.Severity == "" {
			want.Severity = alert.High
		}
		if state != string(want.Stage) || assignee != want.Assignee || verdict != string(want.Verdict) || severity != string(want.Severity) || n != uint64(want.Actions) || by != "rule" {
			t.Errorf("the view says %s %q %q %s %d %q, the actions %+v", state, assignee, verdict, severity, n, by, want)
		}
		js, err := l.Benign(ctx, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		if len(js) != benign {
			t.Fatalf("%d judgements, want %d: %+v", len(js), benign, js)
		}
		for i, j := range js {
			if j.AlertID != "a1" || j.AgentID != []string{"x", "y"}[i] || !j.From.Equal(noon.Add(-time.Minute)) || !j.To.Equal(noon.Add(time.Minute)) || j.ID == "" {
				t.Errorf("judgement %+v", j)
			}
		}
	}
	check(0)
	step(triage.Acknowledge, "")
	step(triage.Assign, "kim")
	check(0)
	step(triage.Close, "benign")
	check(2)
	step(triage.Severity, "low")
	step(triage.Close, "true")
	check(0)
	step(triage.Close, "benign")
	step(triage.Reopen, "")
	check(0)
	if all, _ := l.Actions(ctx, "a1"); len(all) != 17 {
		t.Errorf("%d actions", len(all))
	}
	if _, err := l.Append(ctx, triage.Action{AlertID: "a1", Who: "", Kind: triage.Acknowledge}); err == nil || !strings.Contains(err.Error(), "who") {
		t.Error(err)
	}
}

func TestSuppressionsEnd(t *testing.T) {
	ctx, _, l := start(t)
	first, err := l.Suppress(ctx, triage.Suppression{Who: "sam", Why: "ours", EntityKind: "agent", EntityID: "a'b\\c"})
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().UTC().Add(time.Hour).Truncate(time.Second)
	if _, err := l.Suppress(ctx, triage.Suppression{Who: "kim", Why: "load test", Pattern: "load*", Until: until}); err != nil {
		t.Fatal(err)
	}
	all, err := l.Suppressions(ctx)
	if err != nil || len(all) != 2 || all[0].EntityID != "a'b\\c" || !all[0].Until.IsZero() || !all[1].Until.Equal(until) {
		t.Fatalf("%v %+v", err, all)
	}
	first.Removed, first.Why = true, "no longer"
	if _, err := l.Suppress(ctx, first); err != nil {
		t.Fatal(err)
	}
	if all, err = l.Suppressions(ctx); err != nil || len(all) != 1 || all[0].Pattern != "load*" {
		t.Errorf("%v %+v", err, all)
	}
	var rows uint64
	if err := l.Conn().QueryRow(ctx, "SELECT count() FROM suppressions").Scan(&rows); err != nil || rows != 3 {
		t.Errorf("the trail has %d rows, %v", rows, err)
	}
	if _, err := l.Suppress(ctx, triage.Suppression{Who: "sam", Why: "quiet"}); err == nil {
		t.Error("a rule that hides everything was taken")
	}
}

func TestRetentionFollowsTheConfiguration(t *testing.T) {
	ctx, dsn, l := start(t)
	const day = 24 * time.Hour
	for _, c := range []struct {
		keep map[string]time.Duration
		want string
	}{
		{map[string]time.Duration{"events": 180 * day, "alerts": 730 * day, "dead_letters": 30 * day, "baselines": 365 * day}, ""},
		{map[string]time.Duration{"events": 7 * day, "dead_letters": 3 * day}, "dead_letters events"},
		{map[string]time.Duration{"events": 7 * day, "dead_letters": 3 * day}, ""},
	} {
		changed, err := clickhouse.SetRetention(ctx, dsn, c.keep)
		if err != nil || strings.Join(changed, " ") != c.want {
			t.Errorf("%v: changed %v, %v; want %q", c.keep, changed, err, c.want)
		}
	}
	var create string
	if err := l.Conn().QueryRow(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'events'").Scan(&create); err != nil || !strings.Contains(create, "toIntervalDay(7)") {
		t.Errorf("%s %v", create, err)
	}
	if _, err := clickhouse.SetRetention(ctx, dsn, map[string]time.Duration{"evnets": day}); err == nil {
		t.Error("a table that does not exist was taken")
	}
}
