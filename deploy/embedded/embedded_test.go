package embedded_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"go.uber.org/goleak"

	"github.com/astray-dev/astray/deploy/embedded"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	goleak.VerifyTestMain(m)
}

// What the server has acknowledged is there after it was killed.
func TestAcknowledgedRowsSurviveKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: t.TempDir(), Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	query := func(sql string) string {
		t.Helper()
		o, err := clickhouse.ParseDSN(s.DSN())
		if err != nil {
			t.Fatal(err)
		}
		c, err := clickhouse.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if sql[:6] != "SELECT" {
			if err := c.Exec(ctx, sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			return ""
		}
		var n uint64
		if err := c.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return fmt.Sprint(n)
	}
	query("CREATE DATABASE d ENGINE = Atomic")
	query("CREATE TABLE d.t (x UInt64) ENGINE = MergeTree ORDER BY x")
	for i := range 5 {
		query(fmt.Sprintf("INSERT INTO d.t SELECT number FROM numbers(%d, 10)", i*10))
	}
	s.Kill()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if got := query("SELECT uniqExact(x) FROM d.t"); got != "50" {
		t.Errorf("after the kill %s rows are there, 50 were acknowledged", got)
	}
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}
