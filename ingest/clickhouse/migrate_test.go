package clickhouse_test

import (
	"testing"

	"github.com/astray-dev/astray/ingest/clickhouse"
)

// A process or a server that dies in the middle of a migration leaves statements behind that took effect, and nothing
// that says so. Each statement of each step must therefore do no harm when it is run again, and so must a step that
// another instance takes at the same time.
func TestAnInterruptedMigrationIsTakenUpAgain(t *testing.T) {
	dsn, conn, _ := database(t)
	before, err := clickhouse.Status(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), "TRUNCATE TABLE goose_db_version"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1)"); err != nil {
		t.Fatal(err)
	}
	taken, err := clickhouse.Migrate(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if len(taken) != len(before) {
		t.Errorf("%d of %d steps were taken again", len(taken), len(before))
	}
}

func TestInstancesMayMigrateAtTheSameTime(t *testing.T) {
	dsn, conn, _ := database(t)
	for _, q := range []string{"DROP DATABASE " + t.Name() + " SYNC", "CREATE DATABASE " + t.Name() + " ENGINE = Atomic"} {
		if err := open(t, server.DSN()).Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	const instances = 3
	errs := make(chan error, instances)
	for range instances {
		go func() {
			// Who comes second may be told so by the server; the next attempt finds everything done.
			var err error
			for range 20 {
				if _, err = clickhouse.Migrate(t.Context(), dsn); err == nil {
					break
				}
			}
			errs <- err
		}()
	}
	for range instances {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	all, err := clickhouse.Status(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if !m.Applied {
			t.Errorf("%s is not applied", m.File)
		}
	}
	if err := conn.Exec(t.Context(), "SELECT suppressed_by FROM alerts_latest"); err != nil {
		t.Error(err)
	}
}
