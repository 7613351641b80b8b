package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/astray-dev/astray/cmd/internal/demo"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/ingest/file"
	"github.com/astray-dev/astray/ingest/simulate"
)

func demoCommand() *cobra.Command {
	var cfg demo.Config
	var events, truth string
	var budget float64
	var plain bool
	c := &cobra.Command{
		Use: "demo", Short: "Show everything at work: broker, database and engine, and a world of agents that goes astray",
		Long: "Show everything at work: an embedded broker and database, the engine as `astray run` starts it, and a simulated\n" +
			"network of agents. Its past is streamed at full speed, so that every agent has a baseline; then it goes on at a\n" +
			"pace, with attacks mixed in. It ends at Ctrl-C or q, or after --duration, with a line of figures read back from\n" +
			"the database. The first run fetches the embedded database (178 MB) through npm. With a Grafana on this machine it\n" +
			"is started too, on loopback, with the app, the datasource and the dashboards, and the URL of the triage page is told.",
		Example: "  astray demo\n  astray demo --duration 60s\n  astray demo --grafana-home /usr/share/grafana\n  astray demo --events events.ndjson.zst",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !(cfg.Speed >= 1):
				return usageError{errors.New("--speed: 1 or more")}
			case cfg.Duration < 0:
				return usageError{errors.New("--duration: more than 0")}
			case cfg.App.Partitions < 1:
				return usageError{errors.New("--partitions: 1 or more")}
			case budget <= 0:
				return usageError{errors.New("--alert-budget: more than 0")}
			case truth != "" && events == "":
				return usageError{errors.New("--truth: goes with --events")}
			}
			home, err := embedded.FindGrafana(cfg.Grafana)
			if err != nil {
				return usageError{fmt.Errorf("--grafana-home: %w", err)}
			}
			cfg.Grafana, cfg.Plugin = home, plugin(cfg.Plugin)
			cfg.App.Detect = detect.Config{Budget: budget}
			cfg.App.DuplicateWindow = 500_000 // the configuration's default
			if events == "" {
				// Only to have mistakes named before anything is started.
				if _, err := simulate.New(simulate.Config{Agents: cfg.Agents, Days: cfg.History + 1, Quiet: cfg.History, Attacks: cfg.Attacks}); err != nil || cfg.History < 0.1 {
					return usageError{errors.Join(errors.New("the world cannot be made"), err)}
				}
			} else {
				in, err := file.Open(events, cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("--events: %w", err)
				}
				defer in.Close()
				cfg.Events = in
			}
			if truth != "" {
				text, err := os.ReadFile(truth)
				if err != nil {
					return fmt.Errorf("--truth: %w", err)
				}
				cfg.Truth = new(simulate.Truth)
				if err := json.Unmarshal(text, cfg.Truth); err != nil {
					return fmt.Errorf("--truth: %s: %w", truth, err)
				}
			}
			ctx, stop, release := signals(cmd.Context(), nil)
			defer release()
			return runDemo(ctx, stop, cfg, plain, events == "-", cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.IntVar(&cfg.Agents, "agents", 300, "`NUMBER` of agents in the world")
	f.Float64Var(&cfg.History, "days", 5, "`DAYS` of its past")
	f.Float64Var(&cfg.Speed, "speed", 240, "how much `FASTER` than the clock the world goes on after its past; 1 is real time")
	f.Uint64Var(&cfg.Seed, "seed", 1, "`SEED` of everything that is random in it")
	f.StringSliceVar(&cfg.Attacks, "attacks", nil, "`KINDS` of attack to mix in, separated by commas, or none (default all)")
	f.StringVar(&events, "events", "", "stream the NDJSON `FILE` instead of a world (.gz, .zst, - for standard input)")
	f.StringVar(&truth, "truth", "", "`FILE` of the attacks in --events, as astray simulate writes it")
	f.DurationVar(&cfg.Duration, "duration", 0, "end by itself after this `TIME`, counted from when broker and database are up (default: at Ctrl-C)")
	f.StringVar(&cfg.Dir, "data-dir", "", "`DIR` to keep broker and database in; a later demo goes on there (default: a temporary one)")
	f.StringSliceVar(&cfg.Brokers, "kafka", nil, "brokers to use instead of the embedded one, `HOST:PORT`, separated by commas")
	f.StringVar(&cfg.DSN, "clickhouse-dsn", os.Getenv("ASTRAY_CLICKHOUSE_DSN"), "ClickHouse database to use instead of the embedded one, as a `DSN`; better in ASTRAY_CLICKHOUSE_DSN")
	f.Lookup("clickhouse-dsn").DefValue = ""
	f.StringVar(&cfg.Grafana, "grafana-home", os.Getenv("GRAFANA_HOME"), "`DIR` of an installed Grafana to start on loopback with the app (default: GRAFANA_HOME, or a grafana on the PATH)")
	f.Lookup("grafana-home").DefValue = ""
	f.StringVar(&cfg.Plugin, "grafana-plugin", "", "`DIR` of the built app (default: dashboards/astray-app/dist here or beside the executable's directory)")
	f.IntVar(&cfg.App.Partitions, "partitions", 1, "`NUMBER` of partitions of the topic of events")
	f.Float64Var(&budget, "alert-budget", 1, "false alerts per 1,000 agent-days to aim at")
	f.BoolVar(&plain, "plain", false, "print lines, even to a terminal")
	return c
}

// plugin is where the app for Grafana was built: where make plugin puts it, seen from here or from bin/astray.
func plugin(dir string) string {
	const built = "dashboards/astray-app/dist"
	if dir != "" {
		return dir
	}
	if exe, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(filepath.Dir(exe)), filepath.FromSlash(built))
		if _, err := os.Stat(filepath.Join(beside, "plugin.json")); err == nil {
			return beside
		}
	}
	return filepath.FromSlash(built)
}

// runDemo runs a demo on the screen that out has, and prints its result as the last line. Where there
// is no terminal to draw on, the engine's warnings go to log.
func runDemo(ctx context.Context, stop <-chan struct{}, cfg demo.Config, plain, stdinTaken bool, stdin io.Reader, out, log io.Writer) error {
	if f, ok := out.(*os.File); ok && !plain && term.IsTerminal(int(f.Fd())) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		// In this mode the terminal gives Ctrl-C as a key. As with signals, the first one ends the demo, the second
		// one at once.
		first := make(chan struct{})
		var once sync.Once
		presses := 0
		quit := func() {
			once.Do(func() { close(first) })
			if presses++; presses > 1 {
				cancel()
			}
		}
		var keys io.Reader
		if k, ok := stdin.(*os.File); ok && !stdinTaken && term.IsTerminal(int(k.Fd())) {
			keys = k
		}
		screen := demo.NewTerminal(keys, out, quit)
		cfg.Screen = screen
		go func() {
			select {
			case <-stop:
				once.Do(func() { close(first) })
			case <-ctx.Done():
			}
		}()
		result, err := demo.Run(ctx, first, cfg)
		if err := errors.Join(err, screen.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, result)
		return err
	}
	cfg.App.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	screen := &demo.Lines{Out: out, Every: 5 * time.Second, Now: time.Now}
	cfg.Screen = screen
	result, err := demo.Run(ctx, stop, cfg)
	if err := errors.Join(err, screen.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, result)
	return err
}
