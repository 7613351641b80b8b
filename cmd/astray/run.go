package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/ingest/clickhouse"
)

func runCommand() *cobra.Command {
	var cfg app.Config
	var budget float64
	c := &cobra.Command{
		Use: "run", Short: "Read the topic, detect, and store events and alerts in ClickHouse", Args: cobra.NoArgs,
		Example: "  ASTRAY_CLICKHOUSE_DSN=clickhouse://astray:secret@127.0.0.1:9000/astray astray run --kafka 127.0.0.1:9092",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(cfg.Brokers) == 0 {
				return usageError{errors.New("--kafka: name at least one broker, host:port")}
			}
			if cfg.DSN == "" {
				return usageError{errors.New("--clickhouse-dsn or ASTRAY_CLICKHOUSE_DSN: name the database")}
			}
			cfg.Detect = detect.Config{Budget: budget}
			cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			ctx, stop, release := signals(cmd.Context())
			defer release()
			return app.Run(ctx, stop, cfg)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&cfg.Brokers, "kafka", nil, "brokers, `HOST:PORT`, separated by commas")
	f.StringVar(&cfg.DSN, "clickhouse-dsn", os.Getenv("ASTRAY_CLICKHOUSE_DSN"), "ClickHouse database as a `DSN`; better in ASTRAY_CLICKHOUSE_DSN, where others do not see it")
	f.StringVar(&cfg.Group, "group", "astray", "consumer group `ID`")
	f.IntVar(&cfg.Partitions, "partitions", 4, "partitions of a topic that does not exist yet")
	f.Float64Var(&budget, "alert-budget", 1, "false alerts per 1,000 agent-days to aim at")
	f.Lookup("clickhouse-dsn").DefValue = ""
	return c
}

// signals closes stop on the first interrupt or termination signal, and cancels the context on the second.
func signals(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithCancel(parent)
	first := make(chan struct{})
	in := make(chan os.Signal, 2)
	signal.Notify(in, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-in:
			close(first)
		case <-ctx.Done():
			return
		}
		select {
		case <-in:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, first, func() { signal.Stop(in); cancel() }
}

func migrateCommand() *cobra.Command {
	c := &cobra.Command{Use: "migrate", Short: "Bring the ClickHouse schema up to date, or show how far it is",
		Example: "  astray migrate up --clickhouse-dsn clickhouse://127.0.0.1:9000/astray", Args: cobra.NoArgs}
	var dsn string
	c.PersistentFlags().StringVar(&dsn, "clickhouse-dsn", "", "ClickHouse database as a `DSN` (default: ASTRAY_CLICKHOUSE_DSN)")
	sub := func(name, short string, act func(context.Context, string) ([]clickhouse.Migration, error)) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Args: usageArgs(cobra.NoArgs), Example: "  astray migrate " + name,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if dsn == "" {
					dsn = os.Getenv("ASTRAY_CLICKHOUSE_DSN")
				}
				if dsn == "" {
					return usageError{errors.New("--clickhouse-dsn or ASTRAY_CLICKHOUSE_DSN: name the database")}
				}
				ctx, _, release := signals(cmd.Context())
				defer release()
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
			}}
	}
	c.AddCommand(sub("up", "Take the steps that are missing", clickhouse.Migrate), sub("status", "Show all steps and which were taken", clickhouse.Status))
	return c
}
