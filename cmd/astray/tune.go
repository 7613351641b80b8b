package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/config"
	"github.com/astray-dev/astray/cmd/internal/tuning"
	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/file"
	"github.com/astray-dev/astray/ingest/simulate"
)

// tunable are the keys that decide which alerts there are.
var tunable = []string{"detect.alert_budget", "detect.detectors", "detect.episode_gap"}

func tuneCommand() *cobra.Command {
	var s settings
	var events, truth, history, changed, dsn, format string
	var set []string
	var shares bool
	c := &cobra.Command{
		Use: "tune", Short: "Show the alerts that a changed configuration would add and remove", Args: cobra.NoArgs,
		Long: "Show the alerts that a changed configuration would add and remove.\n\nThe configuration in force (--config) and the changed one (--with, --set) are run side by side over the events of a file, or\n" +
			"over stored events. What counts are " + strings.Join(tunable, ", ") + " and triage.suppressions. Nothing is written.",
		Example: "  astray tune --events week.ndjson.zst --set alert_budget=3\n  astray tune --events world.ndjson.zst --truth truth.json --set detectors=scraping,burst\n" +
			"  astray tune --config astray.yaml --with new.yaml --history 2026-05-01..2026-05-08\n  astray tune --config astray.yaml --shares",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			if dsn != "" {
				dsn = "ASTRAY_CLICKHOUSE_DSN=" + dsn
			}
			now, _, err := s.load(cmd, compact(dsn)...)
			if err != nil {
				return err
			}
			over, err := overrides(set)
			if err != nil {
				return err
			}
			next := s
			if changed != "" {
				next.file = changed
			}
			then, _, err := next.load(cmd, over...)
			if err != nil {
				return err
			}
			if shares {
				return writeShares(cmd.OutOrStdout(), then)
			}
			switch {
			case (events == "") == (history == ""):
				return usageError{errors.New("--events or --history: name one of them")}
			case changed == "" && len(set) == 0:
				return usageError{errors.New("--with or --set: say what is to change")}
			}
			trial, err := tuning.New(settingOf(now), settingOf(then))
			if err != nil {
				return usageError{err}
			}
			known, err := readTruth(truth)
			if err != nil {
				return err
			}
			if events != "" {
				err = tuneFile(trial, events, cmd.InOrStdin(), cmd.ErrOrStderr())
			} else {
				err = tuneHistory(cmd, trial, history, now.ClickHouse.DSN)
			}
			if err != nil {
				return err
			}
			r := trial.Finish(known)
			if format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", " ")
				return enc.Encode(r)
			}
			return writeTrial(cmd.OutOrStdout(), r, known != nil)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&events, "events", "", "NDJSON `FILE` of events (.gz, .zst, - for standard input)")
	f.StringVar(&history, "history", "", "stored events of a span `FROM..TO`: 2026-05-01..2026-05-08, or times")
	f.StringVar(&truth, "truth", "", "`FILE` that astray simulate --truth wrote: says which alerts are right")
	f.StringVar(&changed, "with", "", "changed configuration `FILE` (default: --config)")
	f.StringArrayVar(&set, "set", nil, "`KEY=VALUE` to change, such as alert_budget=3; may be repeated")
	f.StringVar(&dsn, "clickhouse-dsn", "", "ClickHouse database as a `DSN` (default: clickhouse.dsn)")
	f.BoolVar(&shares, "shares", false, "show how the alert budget is split over detectors, and nothing else")
	f.StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func compact(s ...string) []string {
	var out []string
	for _, x := range s {
		if x != "" {
			out = append(out, x)
		}
	}
	return out
}

// overrides turns KEY=VALUE into variables of the environment.
func overrides(set []string) ([]string, error) {
	var out []string
next:
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--set: %q is not like alert_budget=3", s)}
		}
		for _, f := range config.Fields() {
			for _, path := range tunable {
				if f.Path == path && (key == path || "detect."+key == path) {
					out = append(out, f.Env()+"="+value)
					continue next
				}
			}
		}
		return nil, usageError{fmt.Errorf("--set: %q changes no alerts; there are %s", key, strings.Join(tunable, ", "))}
	}
	return out, nil
}

func settingOf(c *config.Config) tuning.Setting {
	return tuning.Setting{Budget: c.Detect.AlertBudget, Detectors: c.Detect.Detectors, Gap: c.Detect.EpisodeGap, Suppressions: c.Triage.Suppressions}
}

func readTruth(name string) (*simulate.Truth, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--truth: %w", err)
	}
	t := new(simulate.Truth)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("--truth: %s: %w", name, err)
	}
	return t, nil
}

func tuneFile(trial *tuning.Trial, name string, stdin io.Reader, complaints io.Writer) error {
	in, err := file.Open(name, stdin)
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	defer in.Close()
	rejected := 0
	err = file.Batches(in, noClock, func(b *file.Batch) error {
		for _, err := range b.Rejected {
			if rejected++; rejected <= maxComplaints {
				fmt.Fprintln(complaints, "rejected:", err)
			}
		}
		trial.Observe(b.Events)
		return nil
	})
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	return nil
}

// tuneHistory shows the trial stored events, in the order of their times.
func tuneHistory(cmd *cobra.Command, trial *tuning.Trial, span, dsn string) error {
	from, to, err := spanOf(span)
	if err != nil {
		return err
	}
	if dsn == "" {
		return usageError{errors.New("--clickhouse-dsn, ASTRAY_CLICKHOUSE_DSN or clickhouse.dsn of --config: name the database")}
	}
	return within(cmd, func(ctx context.Context) (err error) {
		store, err := clickhouse.Open(ctx, dsn)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		const batch = 4096
		var events []event.Event
		err = store.Between(ctx, from, to, func(ev *event.Event) {
			if events = append(events, *ev.Clone()); len(events) == batch {
				trial.Observe(events)
				events = events[:0]
			}
		})
		trial.Observe(events)
		return err
	})
}

func spanOf(s string) (from, to time.Time, err error) {
	a, b, ok := strings.Cut(s, "..")
	parse := func(s string) (t time.Time) {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, s); err == nil {
				return t
			}
		}
		ok = false
		return t
	}
	if ok {
		from, to = parse(a), parse(b)
	}
	if !ok || !from.Before(to) || to.Sub(from) > 366*24*time.Hour {
		return from, to, usageError{fmt.Errorf("--history: %q is no span of up to a year, such as 2026-05-01..2026-05-08", s)}
	}
	return from, to, nil
}

func writeShares(out io.Writer, c *config.Config) error {
	detectors, err := catalog.Select(c.Detect.Detectors...)
	if err != nil {
		return usageError{err}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "DETECTOR\tFALSE ALERTS PER 1,000 AGENT-DAYS\tALERTS AT P UP TO\n")
	for _, s := range detect.New(detect.Config{Budget: c.Detect.AlertBudget}, detectors...).Shares() {
		fmt.Fprintf(w, "%s\t%.3g\t%.2g\n", s.Detector, s.Budget, s.Threshold)
	}
	fmt.Fprintf(w, "all\t%.3g\t\n", c.Detect.AlertBudget)
	return w.Flush()
}

func writeTrial(out io.Writer, r tuning.Result, known bool) error {
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, "%d events, %d agent-days\n\n", r.Events, r.AgentDays)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	head := "DETECTOR\tNOW\tTHEN\tADDED\tREMOVED"
	if known {
		head += "\tRIGHT\tFALSE"
	}
	fmt.Fprintln(w, head)
	sum := tuning.Row{Detector: "all"}
	line := func(x *tuning.Row) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d", x.Detector, x.Now, x.New, x.Added, x.Removed)
		if known {
			fmt.Fprintf(w, "\t%d → %d\t%d → %d", x.NowRight, x.NewRight, x.NowFalse, x.NewFalse)
		}
		fmt.Fprintln(w)
	}
	for i := range r.Rows {
		x := &r.Rows[i]
		line(x)
		sum.Now, sum.New, sum.Added, sum.Removed = sum.Now+x.Now, sum.New+x.New, sum.Added+x.Added, sum.Removed+x.Removed
		sum.NowRight, sum.NewRight, sum.NowFalse, sum.NewFalse = sum.NowRight+x.NowRight, sum.NewRight+x.NewRight, sum.NowFalse+x.NowFalse, sum.NewFalse+x.NewFalse
	}
	line(&sum)
	if r.AgentDays > 0 {
		per := 1000 / float64(r.AgentDays)
		fmt.Fprintf(w, "per 1,000 agent-days\t%.2f\t%.2f\t%.2f\t%.2f", per*float64(sum.Now), per*float64(sum.New), per*float64(sum.Added), per*float64(sum.Removed))
		if known {
			fmt.Fprintf(w, "\t\t%.2f → %.2f", per*float64(sum.NowFalse), per*float64(sum.NewFalse))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Hidden[0]+r.Hidden[1] > 0 {
		fmt.Fprintf(b, "\nHidden by suppressions: %d now, %d then.\n", r.Hidden[0], r.Hidden[1])
	}
	for _, part := range []struct {
		mark, title string
		list        []tuning.Change
	}{{"+", "Added", r.Added}, {"-", "Removed", r.Removed}, {"=", "Named by another detector", r.Renamed}} {
		if len(part.list) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s:\n", part.title)
		for _, x := range part.list {
			fmt.Fprintf(b, "%s %s %s %s %s: %s%s%s\n", part.mark, x.Alert.Time.UTC().Format(time.DateTime), x.Alert.Severity, x.Alert.Detector,
				plain(x.Alert.EntityID, 80), plain(x.Alert.Reason, 300), note(" — until now ", x.Was), verdictOf(x, known))
		}
	}
	return b.Flush()
}

func verdictOf(x tuning.Change, known bool) string {
	switch {
	case !known:
		return ""
	case x.Attack == "":
		return " [false]"
	}
	return " [" + x.Attack + "]"
}
