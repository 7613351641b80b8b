package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/config"
	"github.com/astray-dev/astray/detect/triage"
	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
)

// desk is what commands that read and append decisions share.
type desk struct {
	settings
	dsn, who string
}

func (d *desk) flags(c *cobra.Command) {
	d.settings.flags(c)
	f := c.PersistentFlags()
	f.StringVar(&d.dsn, "clickhouse-dsn", "", "ClickHouse database as a `DSN` (default: clickhouse.dsn)")
	f.StringVar(&d.who, "who", "", "`NAME` under which it is written down (default: ASTRAY_WHO, else the user of this machine)")
}

func (d *desk) name(environ func(string) string) (string, error) {
	if d.who != "" {
		return d.who, nil
	}
	if w := environ("ASTRAY_WHO"); w != "" {
		return w, nil
	}
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "", usageError{errors.New("--who: name yourself; the user of this machine has no name")}
	}
	return u.Username, nil
}

// open runs act with the ledger of the configured database.
func (d *desk) open(cmd *cobra.Command, act func(ctx context.Context, l *ledger.Ledger) error) error {
	dsn, err := d.database(cmd, d.dsn)
	if err != nil {
		return err
	}
	return within(cmd, func(ctx context.Context) (err error) {
		l, err := ledger.Open(ctx, dsn)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		return act(ctx, l)
	})
}

// plain is text of others made safe for a terminal: what is not printed or turns the direction of writing is shown as
// an escape, and it is cut to n characters.
func plain(s string, n int) string {
	var b strings.Builder
	i := 0
	for _, r := range s {
		if i++; n > 0 && i > n {
			b.WriteString("…")
			break
		}
		if r == ' ' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\u%04x", r)
	}
	return b.String()
}

func alertsCommand(environ func(string) string) *cobra.Command {
	c := &cobra.Command{Use: "alerts", Short: "List, show and triage alerts", Example: "  astray alerts list\n  astray alerts close 3f2a --verdict benign --why \"our new crawler\""}
	d := &desk{}
	d.flags(c)
	c.AddCommand(alertsList(d), alertsShow(d))
	for _, a := range []struct {
		name, short, args string
		kind              triage.Kind
		arg               bool
		value, why        bool
	}{
		{"ack", "Acknowledge an alert: somebody is looking", "", triage.Acknowledge, false, false, false},
		{"assign", "Assign an alert to somebody (- to nobody)", " NAME", triage.Assign, true, false, false},
		{"comment", "Add a comment to an alert", " TEXT", triage.Comment, true, false, false},
		{"close", "Close an alert with a verdict; benign teaches the engine", " --verdict VERDICT", triage.Close, false, true, true},
		{"reopen", "Open an alert again", "", triage.Reopen, false, false, false},
		{"severity", "Raise or lower the severity of an alert", " SEVERITY", triage.Severity, true, false, false},
	} {
		var verdict, why string
		args := cobra.ExactArgs(1)
		if a.arg {
			args = cobra.ExactArgs(2)
		}
		example := map[string]string{"ack": "3f2a", "assign": "3f2a kim", "comment": `3f2a "asked the owner"`, "close": `3f2a --verdict true --why "stolen key, revoked"`,
			"reopen": "3f2a", "severity": "3f2a critical"}[a.name]
		sub := &cobra.Command{Use: a.name + " ALERT" + a.args, Short: a.short, Args: args, Example: "  astray alerts " + a.name + " " + example,
			RunE: func(cmd *cobra.Command, given []string) error {
				who, err := d.name(environ)
				if err != nil {
					return err
				}
				act := triage.Action{AlertID: given[0], Who: who, Kind: a.kind, Why: why}
				switch {
				case a.kind == triage.Comment:
					act.Why = given[1]
				case a.kind == triage.Close:
					act.Value = verdict
				case a.arg && !(a.kind == triage.Assign && given[1] == "-"):
					act.Value = given[1]
				}
				if err := act.Check(); err != nil {
					return usageError{err}
				}
				return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
					j, err := l.Alert(ctx, act.AlertID)
					if err != nil {
						return err
					}
					act.AlertID = j.ID
					done, err := l.Actions(ctx, j.ID)
					if err != nil {
						return err
					}
					if _, err := triage.Derive(done).Apply(act); err != nil {
						return err
					}
					added, err := l.Append(ctx, act)
					if err != nil {
						return err
					}
					state := triage.Derive(append(done, added...))
					fmt.Fprintf(cmd.OutOrStdout(), "%s is %s%s%s\n", j.ID, state.Stage, note(" as ", string(state.Verdict)), note(", assigned to ", plain(state.Assignee, 80)))
					return nil
				})
			}}
		if a.kind == triage.Close {
			sub.Flags().StringVar(&verdict, "verdict", "", "`VERDICT`: true, benign or unsure")
			if err := sub.RegisterFlagCompletionFunc("verdict", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return []string{"true", "benign", "unsure"}, cobra.ShellCompDirectiveNoFileComp
			}); err != nil {
				panic(err) // the flag's name is misspelt
			}
		}
		if a.kind != triage.Comment {
			sub.Flags().StringVar(&why, "why", "", "`REASON`, for those who read it later")
		}
		c.AddCommand(sub)
	}
	return c
}

func note(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

// ago is how a span of the past is given on a command line: a duration, or a time.
func ago(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--since: %q is neither a duration (24h, 7d) nor a time (2026-05-04, 2026-05-04T12:00:00Z)", s)}
}

func alertsList(d *desk) *cobra.Command {
	var f ledger.Filter
	var since, format, shape string
	c := &cobra.Command{Use: "list", Short: "List alerts, the newest first", Args: cobra.NoArgs,
		Example: "  astray alerts list --state open --severity high,critical --since 24h\n  astray alerts list --since 24h --alerts-format ocsf",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, err = ago(since, time.Now()); err != nil {
				return err
			}
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			if err := oneOf("--"+alertsFormat, shape, "native", "ocsf"); err != nil {
				return err
			}
			for _, s := range f.States {
				if err := oneOf("--state", s, "open", "acknowledged", "closed"); err != nil {
					return err
				}
			}
			for _, s := range f.Severities {
				if err := oneOf("--severity", s, "low", "medium", "high", "critical"); err != nil {
					return err
				}
			}
			if f.Limit < 1 || f.Limit > 10_000 {
				return usageError{errors.New("--limit: is between 1 and 10000")}
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				all, err := l.Alerts(ctx, f)
				if err != nil {
					return err
				}
				switch {
				case shape == "ocsf":
					return ndjson(cmd.OutOrStdout(), all, asFinding)
				case format == "json":
					return ndjson(cmd.OutOrStdout(), all, asJSON)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ALERT\tTIME\tSEVERITY\tSTATE\tASSIGNEE\tTITLE")
				for _, j := range all {
					state := string(j.State) + note(": ", string(j.Verdict))
					if j.SuppressedBy != "" {
						state += ", suppressed"
					}
					fmt.Fprintf(w, "%.12s\t%s\t%s\t%s\t%s\t%s\n", plain(j.ID, 12), j.Time.Format(time.DateTime), plain(string(j.Severity), 20), state, plain(j.Assignee, 20), plain(j.Title, 100))
				}
				return w.Flush()
			})
		}}
	fl := c.Flags()
	fl.StringSliceVar(&f.States, "state", nil, "only these `STATES`: open, acknowledged, closed")
	fl.StringSliceVar(&f.Severities, "severity", nil, "only these `SEVERITIES`: low, medium, high, critical")
	fl.StringVar(&f.Detector, "detector", "", "only of this `DETECTOR`")
	fl.StringVar(&f.Entity, "entity", "", "only of this agent or other entity, by `ID`")
	fl.StringVar(&f.Assignee, "assignee", "", "only assigned to `NAME`")
	fl.StringVar(&since, "since", "", "last seen since `WHEN`: 24h, 7d, 2026-05-04")
	fl.BoolVar(&f.Suppressed, "suppressed", false, "suppressed ones too")
	fl.IntVar(&f.Limit, "limit", 50, "at most so `MANY`")
	fl.StringVar(&format, "format", "text", "`FORMAT`: text or json")
	alertsFormatFlag(c, &shape)
	return c
}

func oneOf(flag, v string, words ...string) error {
	for _, w := range words {
		if v == w {
			return nil
		}
	}
	return usageError{fmt.Errorf("%s: %q is none of %s", flag, v, strings.Join(words, ", "))}
}

// asJSON is an alert in the public shape with its state beside it.
func asJSON(j ledger.Judged) any {
	return struct {
		State        string `json:"state"`
		Assignee     string `json:"assignee,omitempty"`
		Verdict      string `json:"verdict,omitempty"`
		SuppressedBy string `json:"suppressed_by,omitempty"`
		Alert        any    `json:"alert"`
	}{string(j.State), j.Assignee, string(j.Verdict), j.SuppressedBy, j.Alert}
}

// ndjson writes one JSON object a line. What is not printed stands as an escape, so that a terminal shows text as text.
func ndjson[T any](w io.Writer, all []T, shape func(T) any) error {
	out := bufio.NewWriter(w)
	for _, x := range all {
		b, err := json.Marshal(shape(x))
		if err != nil {
			return err
		}
		for _, r := range string(b) {
			switch {
			case unicode.IsPrint(r):
				out.WriteRune(r)
			case r > 0xffff:
				hi, lo := utf16.EncodeRune(r)
				fmt.Fprintf(out, "\\u%04x\\u%04x", hi, lo)
			default:
				fmt.Fprintf(out, "\\u%04x", r)
			}
		}
		out.WriteByte('\n')
	}
	return out.Flush()
}

func alertsShow(d *desk) *cobra.Command {
	var format string
	c := &cobra.Command{Use: "show ALERT", Short: "Show an alert, its evidence and what was done with it; the beginning of its id is enough", Args: cobra.ExactArgs(1),
		Example: "  astray alerts show 3f2a",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("--format", format, "text", "json"); err != nil {
				return err
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				j, err := l.Alert(ctx, args[0])
				if err != nil {
					return err
				}
				if format == "json" {
					return ndjson(cmd.OutOrStdout(), []ledger.Judged{j}, asJSON)
				}
				actions, err := l.Actions(ctx, j.ID)
				if err != nil {
					return err
				}
				return showAlert(cmd.OutOrStdout(), j, actions)
			})
		}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func showAlert(out io.Writer, j ledger.Judged, actions []triage.Action) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s\n%s\n\n", plain(j.Title, 200), plain(j.Reason, 2000))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-12s %s\n", name, value)
		}
	}
	row("alert", plain(j.ID, 80))
	row("state", string(j.State)+note(" as ", string(j.Verdict)))
	row("assignee", plain(j.Assignee, 80))
	row("suppressed", note("by ", plain(j.SuppressedBy, 80)))
	severity := string(j.Severity)
	if j.Detected != j.Severity {
		severity += ", detected as " + string(j.Detected)
	}
	row("severity", plain(severity, 80))
	row("confidence", fmt.Sprintf("%.3g (p-value %.3g)", j.Confidence, j.PValue))
	row("detector", plain(j.Detector+" "+j.DetectorVersion, 80))
	row(plain(j.EntityKind, 12), plain(j.EntityID, 300))
	row("cohort", plain(j.Cohort, 100))
	row("seen", j.FirstSeen.UTC().Format(time.RFC3339)+" to "+j.LastSeen.UTC().Format(time.RFC3339))
	row("events", fmt.Sprint(j.EventCount))
	for _, t := range j.Techniques {
		row("technique", plain(strings.Join([]string{t.Framework, t.Version, t.ID, t.Name}, " "), 200))
	}
	if len(j.Evidence) > 0 {
		fmt.Fprintln(w)
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tab, "FEATURE\tOBSERVED\tEXPECTED\t95 % BAND\tP-VALUE\tSECONDS\t")
		for _, e := range j.Evidence {
			fmt.Fprintf(tab, "%s\t%g\t%g\t%g–%g\t%.2g\t%d\t\n", plain(e.Feature, 60), e.Observed, e.Expected, e.Lower, e.Upper, e.PValue, e.WindowSeconds)
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\n%s\n", plain(j.Query, 4000))
	if len(actions) > 0 {
		fmt.Fprintln(w)
	}
	for _, a := range actions {
		fmt.Fprintf(w, "%s  %s  %s%s%s\n", a.Time.UTC().Format(time.RFC3339), plain(a.Who, 80), a.Kind, note(" ", plain(a.Value, 80)), note(": ", plain(a.Why, 500)))
	}
	return w.Flush()
}

func suppressCommand(environ func(string) string) *cobra.Command {
	c := &cobra.Command{Use: "suppress", Short: "Hide alerts that are known to be harmless",
		Long: "Hide alerts that are known to be harmless. They are still stored and marked, and nobody is called for them. A running engine knows a new rule within seconds.",
		Example: "  astray suppress add --detector scraping --entity search-indexer --why \"our own indexer\" --until 90d\n" +
			"  astray suppress list"}
	d := &desk{}
	d.flags(c)
	var s triage.Suppression
	var until string
	add := &cobra.Command{Use: "add", Short: "Add a rule; all that is named must match", Args: cobra.NoArgs,
		Example: "  astray suppress add --pattern 'cohort:loadtest*' --until 2026-12-31 --why \"load tests\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			who, err := d.name(environ)
			if err != nil {
				return err
			}
			s.Who = who
			if until != "" {
				if dur, err := config.ParseDuration(until); err == nil {
					s.Until = now.Add(dur)
				} else if s.Until, err = ago(until, now); err != nil {
					return usageError{fmt.Errorf("--until: %q is neither a duration (90d) nor a time (2026-12-31)", until)}
				}
			}
			if s.EntityID != "" && s.EntityKind == "" {
				s.EntityKind = "agent"
			}
			if err := s.Check(now); err != nil {
				return usageError{err}
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				past, err := l.Alerts(ctx, ledger.Filter{Since: now.AddDate(0, 0, -30), Limit: 10_000})
				if err != nil {
					return err
				}
				hidden := 0
				for i := range past {
					if s.Matches(&past[i].Alert) {
						hidden++
					}
				}
				made, err := l.Suppress(ctx, s)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s added; of the %d alerts of the last 30 days it would have hidden %d\n", made.ID, len(past), hidden)
				return nil
			})
		}}
	f := add.Flags()
	f.StringVar(&s.Detector, "detector", "", "alerts of this `DETECTOR`")
	f.StringVar(&s.EntityKind, "entity-kind", "", "`KIND` of entity: agent, credential, source, template (default with --entity: agent)")
	f.StringVar(&s.EntityID, "entity", "", "alerts of this entity, by `ID`")
	f.StringVar(&s.Pattern, "pattern", "", "`GLOB` over ids (crawler-*), or over a field: cohort:, title:, reason:, feature:, entity:")
	f.StringVar(&until, "until", "", "`WHEN` it ends: 90d, 2026-12-31 (default: never)")
	f.StringVar(&s.Why, "why", "", "`REASON`, for those who read it later; needed")
	list := &cobra.Command{Use: "list", Short: "List the rules", Args: cobra.NoArgs, Example: "  astray suppress list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				all, err := l.Suppressions(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "RULE\tSINCE\tUNTIL\tWHO\tHIDES\tWHY")
				for _, s := range all {
					end := "for ever"
					if !s.Until.IsZero() {
						end = s.Until.UTC().Format(time.DateOnly)
						if !s.Active(time.Now()) {
							end += " (over)"
						}
					}
					var what []string
					for _, x := range []string{note("detector ", s.Detector), note(s.EntityKind+" ", s.EntityID), note("pattern ", s.Pattern)} {
						if x != "" {
							what = append(what, plain(x, 100))
						}
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Time.UTC().Format(time.DateOnly), end, plain(s.Who, 30), strings.Join(what, ", "), plain(s.Why, 100))
				}
				return w.Flush()
			})
		}}
	var why string
	remove := &cobra.Command{Use: "remove RULE", Short: "End a rule; what it hid comes back with its next evidence", Args: cobra.ExactArgs(1),
		Example: "  astray suppress remove 1b4e28ba-2fa1-11d2-883f-0016d3cca427 --why \"load tests are over\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.name(environ)
			if err != nil {
				return err
			}
			if strings.TrimSpace(why) == "" {
				return usageError{errors.New("--why: is needed")}
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				all, err := l.Suppressions(ctx)
				if err != nil {
					return err
				}
				var found []triage.Suppression
				for _, s := range all {
					if strings.HasPrefix(s.ID, args[0]) {
						found = append(found, s)
					}
				}
				if len(found) != 1 {
					return fmt.Errorf("%d rules begin with %.50q", len(found), args[0])
				}
				s := found[0]
				s.Removed, s.Who, s.Why = true, who, why
				if _, err := l.Suppress(ctx, s); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), s.ID, "removed")
				return nil
			})
		}}
	remove.Flags().StringVar(&why, "why", "", "`REASON`, for those who read it later; needed")
	c.AddCommand(add, list, remove)
	return c
}
