package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.uber.org/goleak"

	"github.com/astray-dev/astray/deploy/embedded"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	goleak.VerifyTestMain(m)
}

func connect(t *testing.T, s *embedded.Server) driver.Conn {
	t.Helper()
	o, err := clickhouse.ParseDSN(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	c, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
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
		c := connect(t, s)
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
	if n := query("SELECT toUInt64(keep_free_space) FROM system.disks WHERE name = 'default'"); n != "128000000" {
		t.Errorf("the server leaves %s bytes of its disk free", n)
	}
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// Where there is less room on the disk than is to be left free nothing is written, and the client is told.
func TestTheDiskIsNotFilledUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: t.TempDir(), Log: os.Stderr, KeepFree: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, s)
	defer c.Close()
	if err := errors.Join(c.Exec(ctx, "CREATE DATABASE d ENGINE = Atomic"), c.Exec(ctx, "CREATE TABLE d.t (x UInt64) ENGINE = MergeTree ORDER BY x")); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(ctx, "INSERT INTO d.t SELECT 1"); err == nil || !strings.Contains(err.Error(), "not enough space") {
		t.Errorf("an insert into a disk without room: %v", err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}
