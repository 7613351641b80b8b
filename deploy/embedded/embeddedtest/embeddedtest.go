// Package embeddedtest gives tests the servers they run against: real ones, on loopback, that end with the test.
// A test binary that uses it calls embedded.MaybeChild first in its TestMain.
package embeddedtest

import (
	"context"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/deploy/embedded"
)

// ClickHouse starts a server; without a directory it has one of its own.
func ClickHouse(ctx context.Context, t testing.TB, opts embedded.Options) *embedded.Server {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	server, err := embedded.StartClickHouse(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	return server
}

// Database makes an empty database beside the server's default one, and returns a connection to the server and the DSN
// of the database.
func Database(ctx context.Context, t testing.TB, server *embedded.Server, name string) (conn driver.Conn, dsn string) {
	t.Helper()
	conn = Connect(t, server.DSN())
	if err := conn.Exec(ctx, "CREATE DATABASE "+name+" ENGINE = Atomic"); err != nil {
		t.Fatal(err)
	}
	return conn, strings.TrimSuffix(server.DSN(), "default") + name
}

// Connect opens a connection over the native protocol.
func Connect(t testing.TB, dsn string) driver.Conn {
	t.Helper()
	opt, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// Kafka starts a broker with the topics, each of as many partitions.
func Kafka(t testing.TB, partitions int32, topics []string, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
