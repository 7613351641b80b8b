package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/config"
)

// settings are the flags of every command that reads the configuration.
type settings struct{ file, format, level string }

func (s *settings) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&s.file, "config", os.Getenv("ASTRAY_CONFIG"), "configuration `FILE` (default: ASTRAY_CONFIG)")
	f.StringVar(&s.format, "log-format", "", "`FORMAT` of the log: text or json (default: log.format)")
	f.StringVar(&s.level, "log-level", "", "`LEVEL` of the log: debug, info, warn or error (default: log.level)")
	f.Lookup("config").DefValue = ""
	complete := func(words ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	err := errors.Join(c.RegisterFlagCompletionFunc("log-format", complete("text", "json")),
		c.RegisterFlagCompletionFunc("log-level", complete("debug", "info", "warn", "error")),
		c.MarkPersistentFlagFilename("config", "yaml", "yml"))
	if err != nil {
		panic(err) // a flag's name is misspelt above
	}
}

// load reads the configuration. over are NAME=VALUE pairs that win over the environment.
func (s *settings) load(cmd *cobra.Command, over ...string) (*config.Config, *slog.Logger, error) {
	for _, f := range []struct {
		flag, value string
		words       []string
	}{{"--log-format", s.format, []string{"text", "json"}}, {"--log-level", s.level, []string{"debug", "info", "warn", "error"}}} {
		if f.value != "" && !slices.Contains(f.words, f.value) {
			return nil, nil, usageError{fmt.Errorf("%s: %q is none of %s", f.flag, f.value, strings.Join(f.words, ", "))}
		}
	}
	if s.format != "" {
		over = append(over, "ASTRAY_LOG_FORMAT="+s.format)
	}
	if s.level != "" {
		over = append(over, "ASTRAY_LOG_LEVEL="+s.level)
	}
	c, warnings, err := config.Load(s.file, overlay(os.Environ(), over))
	if err != nil {
		return nil, nil, usageError{err}
	}
	log := logger(cmd.ErrOrStderr(), c.Log)
	for _, w := range warnings {
		log.Warn("config: " + w)
	}
	return c, log, nil
}

// overlay is the environment with other values for some names.
func overlay(environ, over []string) []string {
	out := slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.ContainsFunc(over, func(o string) bool { return strings.HasPrefix(o, name+"=") })
	})
	return append(out, over...)
}

func logger(w io.Writer, l config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo // the configuration allows no other
	}
	opt := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// database is the DSN of the configuration, for commands that need no more.
func (s *settings) database(cmd *cobra.Command, dsn string) (string, error) {
	var over []string
	if dsn != "" {
		over = append(over, "ASTRAY_CLICKHOUSE_DSN="+dsn)
	}
	c, _, err := s.load(cmd, over...)
	if err != nil {
		return "", err
	}
	if c.ClickHouse.DSN == "" {
		return "", usageError{errors.New("--clickhouse-dsn, ASTRAY_CLICKHOUSE_DSN or clickhouse.dsn of --config: name the database")}
	}
	return c.ClickHouse.DSN, nil
}

func checkConfigCommand() *cobra.Command {
	var show bool
	c := &cobra.Command{
		Use: "check-config FILE", Short: "Check a configuration and name every wrong key and value with its line", Args: cobra.ExactArgs(1),
		Long:    "Check a configuration, with the environment over it, as run would read it. Exit status 2 when anything is wrong.",
		Example: "  astray check-config /etc/astray/astray.yaml\n  astray check-config --show deploy/astray.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, warnings, err := config.Load(args[0], os.Environ())
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			if err != nil {
				return usageError{err}
			}
			if err := c.Ready(); err != nil {
				return usageError{err}
			}
			if show {
				c.Effective(func(f config.Field, v string) { fmt.Fprintf(cmd.OutOrStdout(), "%-36s %s\n", f.Path, v) })
				if err := writeShares(cmd.OutOrStdout(), c); err != nil {
					return err
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), args[0]+": ok")
			return nil
		},
	}
	c.Flags().BoolVar(&show, "show", false, "print every key with the value it would have, secrets left out, and how the alert budget is split")
	return c
}

// buildInfo is what was built.
type buildInfo struct{ Version, Commit, Time, Go string }

func build() buildInfo {
	b := buildInfo{Version: version, Commit: "unknown", Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				b.Commit += " (modified)"
			}
		}
	}
	return b
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version and how it was built", Example: "  astray version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			b := build()
			fmt.Fprintf(cmd.OutOrStdout(), "astray %s\ncommit %s\n", b.Version, b.Commit)
			if b.Time != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "date  ", b.Time)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "go    ", b.Go)
		}}
}

// within runs act until the first signal.
func within(cmd *cobra.Command, act func(ctx context.Context) error) error {
	ctx, stop, release := signals(cmd.Context(), nil)
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return act(ctx)
}
