package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/cmd/internal/config"
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/ingest/http"
	"github.com/astray-dev/astray/ingest/kafka"
)

func runCommand() *cobra.Command {
	var s settings
	var brokers, dsn, group string
	var partitions int
	var budget float64
	c := &cobra.Command{
		Use: "run", Short: "Read the topic, detect, and store events and alerts in ClickHouse", Args: cobra.NoArgs,
		Long: `Read the topic, detect, and store events and alerts in ClickHouse.

Everything is configured in a YAML file; deploy/astray.yaml shows every key. Environment variables override it
(ASTRAY_KAFKA_BROKERS overrides kafka.brokers), and the flags here override both. A database or a broker that is not there
yet is waited for. The first interrupt finishes what was begun and leaves the group; the second stops at once.`,
		Example: "  astray run --config /etc/astray/astray.yaml\n" +
			"  ASTRAY_CLICKHOUSE_PASSWORD=… astray run --kafka 127.0.0.1:9092 --clickhouse-dsn clickhouse://astray@127.0.0.1:9000/astray",
		RunE: func(cmd *cobra.Command, _ []string) error {
			overlay := []string{}
			for flag, v := range map[string]string{"kafka": "ASTRAY_KAFKA_BROKERS=" + brokers, "clickhouse-dsn": "ASTRAY_CLICKHOUSE_DSN=" + dsn,
				"group": "ASTRAY_KAFKA_GROUP=" + group, "partitions": fmt.Sprint("ASTRAY_KAFKA_PARTITIONS=", partitions),
				"alert-budget": fmt.Sprint("ASTRAY_DETECT_ALERT_BUDGET=", budget)} {
				if cmd.Flags().Changed(flag) {
					overlay = append(overlay, v)
				}
			}
			cfg, log, err := s.load(cmd, overlay...)
			if err != nil {
				return err
			}
			if err := cfg.Ready(); err != nil {
				return usageError{err}
			}
			ctx, stop, release := signals(cmd.Context(), log)
			defer release()
			return endingAtOnce(ctx, func() error { return app.Run(ctx, stop, appConfig(cfg, log)) })
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&brokers, "kafka", "", "brokers, `HOST:PORT`, separated by commas")
	f.StringVar(&dsn, "clickhouse-dsn", "", "ClickHouse database as a `DSN`; a password is better in ASTRAY_CLICKHOUSE_PASSWORD, where others do not see it")
	f.StringVar(&group, "group", "", "consumer group `ID`")
	f.IntVar(&partitions, "partitions", 0, "partitions of a topic that does not exist yet")
	f.Float64Var(&budget, "alert-budget", 0, "false alerts per 1,000 agent-days to aim at")
	return c
}

// appConfig hands the parts what was configured.
func appConfig(c *config.Config, log *slog.Logger) app.Config {
	const day = 24 * time.Hour
	keep := map[string]time.Duration{}
	for table, d := range map[string]time.Duration{"events": c.ClickHouse.Retention.Events, "alerts": c.ClickHouse.Retention.Alerts,
		"dead_letters": c.ClickHouse.Retention.DeadLetters, "baselines": c.ClickHouse.Retention.Baselines} {
		if d >= day {
			keep[table] = d
		}
	}
	out := app.Config{
		Brokers: c.Kafka.Brokers, Group: c.Kafka.Group, Partitions: c.Kafka.Partitions, Replicas: c.Kafka.Replicas, DSN: c.ClickHouse.DSN,
		Kafka:       broker(c),
		EventsTopic: c.Kafka.Topic, AlertsTopic: c.Kafka.AlertsTopic, DeadTopic: c.Kafka.DeadLettersTopic,
		LinksTopic: c.Kafka.LinksTopic, LinkPartitions: c.Kafka.LinkPartitions, Links: c.Detect.Links,
		Detect: detect.Config{Budget: c.Detect.AlertBudget, Gap: c.Detect.EpisodeGap}, Detectors: c.Detect.Detectors, StateMemory: c.Detect.StateMemory,
		InsertTimeout: c.ClickHouse.InsertTimeout, BlockRows: c.Pipeline.BlockRows, BlockAge: c.Pipeline.BlockAge, AlertAge: c.Pipeline.AlertAge,
		CheckpointEvery: c.Pipeline.CheckpointEvery, LateAfter: c.Pipeline.LateAfter, DuplicateWindow: c.Pipeline.DuplicateWindow, DuplicateMemory: c.Pipeline.DuplicateMemory, Retention: keep,
		FingerprintKey: c.FingerprintKey, Suppressions: c.Triage.Suppressions, Poll: c.Triage.Poll,
		DeadRowsPerHour: c.DeadLetters.RowsPerHour, DeadBytesPerHour: c.DeadLetters.BytesPerHour,
		Version: build().Version, Log: log,
	}
	if r := c.Receive; r.Listen != "off" {
		out.Receive = app.Receive{Listen: r.Listen, TokensFile: r.TokensFile, AllowUnauthenticated: r.AllowUnauthenticated, CertFile: r.CertFile, KeyFile: r.KeyFile,
			Limits: http.Limits{Events: r.EventsPerSecond, Bytes: int(r.BytesPerSecond)}, MaxBody: int(r.MaxBody), MaxRequests: r.MaxRequests}
	}
	if c.HTTP.Listen != "off" {
		out.HTTP = app.HTTP{Listen: c.HTTP.Listen, Fallback: !c.HTTP.Chosen, Token: c.HTTP.Token, Pprof: c.HTTP.Pprof, StalledAfter: c.HTTP.StalledAfter}
	}
	return out
}

// broker is how the brokers are reached.
func broker(c *config.Config) kafka.Config {
	k := c.Kafka
	return kafka.Config{
		Brokers: k.Brokers, ClientID: k.ClientID, Reset: kafka.Reset(k.Reset), SessionTimeout: k.SessionTimeout, FetchMaxBytes: int(k.FetchMaxBytes),
		TLS:  kafka.TLS{Enabled: k.TLS, CAFile: k.CAFile, CertFile: k.CertFile, KeyFile: k.KeyFile, ServerName: k.ServerName},
		SASL: kafka.SASL{Mechanism: k.Mechanism, User: k.User, Password: k.Password},
	}
}

// endingAtOnce runs f and returns what it returns. Once ctx has ended it waits for it no longer than grace: whoever asks a
// second time has a process that hangs on something that does not answer, and nothing that was promised hangs on an
// orderly end.
func endingAtOnce(ctx context.Context, f func() error) error {
	const grace = time.Second
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-done:
		if err == nil || !errors.Is(err, context.Canceled) {
			return err
		}
	case <-t.C:
	}
	return errors.New("stopped at once; what was not checkpointed is worked through again at the next start")
}

// signals closes stop on the first interrupt or termination signal, and cancels the context on the second.
// log, which may be nil, is told of the first.
func signals(parent context.Context, log *slog.Logger) (ctx context.Context, stop <-chan struct{}, release func()) {
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithCancel(parent)
	first := make(chan struct{})
	in := make(chan os.Signal, 2)
	signal.Notify(in, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case sig := <-in:
			if log != nil {
				log.Info("run: stopping; what was begun is finished first. A second signal stops at once", "signal", sig.String())
			}
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
