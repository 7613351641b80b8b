// Package clickhouse is Astray's memory: the schema as numbered migrations and the writers that fill it.
package clickhouse

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int64
	File    string
	Applied bool
}

// Migrate brings the schema of the database in the DSN up to date and returns the steps it took.
func Migrate(ctx context.Context, dsn string) (taken []Migration, err error) {
	err = withProvider(dsn, func(p *goose.Provider) error {
		done, err := p.Up(ctx)
		for _, r := range done {
			taken = append(taken, Migration{r.Source.Version, r.Source.Path, r.Error == nil})
		}
		return err
	})
	return taken, err
}

// Status returns all steps and which of them were taken.
func Status(ctx context.Context, dsn string) (all []Migration, err error) {
	err = withProvider(dsn, func(p *goose.Provider) error {
		list, err := p.Status(ctx)
		for _, s := range list {
			all = append(all, Migration{s.Source.Version, s.Source.Path, s.State == goose.StateApplied})
		}
		return err
	})
	return all, err
}

func withProvider(dsn string, use func(*goose.Provider) error) error {
	opt, err := driver.ParseDSN(dsn)
	if err != nil {
		return fmt.Errorf("clickhouse DSN: %w", err)
	}
	db := driver.OpenDB(opt)
	defer db.Close()
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectClickHouse, db, dir)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if err := use(p); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return nil
}
