package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/ingest/clickhouse"
)

func migrateCommand() *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "Bring the ClickHouse schema up to date, or show how far it is",
		Example: "  astray migrate up --clickhouse-dsn clickhouse://127.0.0.1:9000/astray", Args: cobra.NoArgs}
	var s settings
	var dsn string
	s.flags(c)
	c.PersistentFlags().StringVar(&dsn, "clickhouse-dsn", "", "ClickHouse database as a `DSN` (default: clickhouse.dsn)")
	sub := func(name, short string, act func(context.Context, string) ([]clickhouse.Migration, error)) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Args: usageArgs(cobra.NoArgs), Example: "  astray migrate " + name + " --config /etc/astray/astray.yaml",
			RunE: func(cmd *cobra.Command, _ []string) error {
				dsn, err := s.database(cmd, dsn)
				if err != nil {
					return err
				}
				return within(cmd, func(ctx context.Context) error {
					list, err := act(ctx, dsn)
					for _, m := range list {
						state := "pending"
						if m.Applied {
							state = "applied"
						}
						fmt.Fprintf(cmd.OutOrStdout(), "%05d  %-8s %s\n", m.Version, state, m.File)
					}
					if err == nil && len(list) == 0 {
						fmt.Fprintln(cmd.OutOrStdout(), "the schema is up to date")
					}
					return err
				})
			}}
	}
	c.AddCommand(sub("up", "Take the steps that are missing", clickhouse.Migrate), sub("status", "Show all steps and which were taken", clickhouse.Status))
	return c
}
