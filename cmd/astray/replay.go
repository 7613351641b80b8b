package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/file"
)

func replayCommand() *cobra.Command {
	var events, alerts, scores, format string
	var names []string
	var budget float64
	var memory int64
	c := &cobra.Command{
		Use: "replay", Short: "Run the engine over an NDJSON file, without a broker or a database",
		Example: "  astray replay --events events.ndjson.zst --alerts - --scores scores.ndjson\n  astray replay --events events.ndjson.zst --alerts findings.ndjson --alerts-format ocsf",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			detectors, err := catalog.Select(names...)
			if err != nil {
				return usageError{fmt.Errorf("--detectors: %w", err)}
			}
			if err := oneOf("--"+alertsFormat, format, "native", "ocsf"); err != nil {
				return err
			}
			if events == "" {
				return usageError{errors.New("--events: name a file, or - for standard input")}
			}
			if budget <= 0 {
				return usageError{errors.New("--alert-budget: is more than 0")}
			}
			if memory < 0 || memory > 1<<20 {
				return usageError{errors.New("--state-memory: from 0 to 1048576")}
			}
			if alerts == "-" && scores == "-" {
				return usageError{errors.New("--alerts and --scores: only one of them can be standard output")}
			}
			for _, out := range []string{alerts, scores} {
				if same(out, events) || out != "" && out == alerts && out == scores {
					return usageError{fmt.Errorf("%s: is named twice, and writing it would destroy what stands in it", out)}
				}
			}
			in, err := file.Open(events, cmd.InOrStdin())
			if err != nil {
				return fmt.Errorf("--events: %w", err)
			}
			defer in.Close()
			return withOutput(scores, cmd.OutOrStdout(), func(scores *bufio.Writer) error {
				return withOutput(alerts, cmd.OutOrStdout(), func(alerts *bufio.Writer) error {
					e := detect.New(detect.Config{Budget: budget, Memory: memory << 20, Forget: true}, detectors...)
					return replay(e, in, alerts, alertShape(format), scores, cmd.ErrOrStderr())
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&events, "events", "", "NDJSON `FILE` of events (.gz, .zst, - for standard input)")
	f.StringVar(&alerts, "alerts", "", "write alerts to `FILE` (- for standard output)")
	alertsFormatFlag(c, &format)
	f.StringVar(&scores, "scores", "", "write a score line per event to `FILE` (- for standard output)")
	f.StringSliceVar(&names, "detectors", nil, "run only these `NAMES`, separated by commas")
	f.Int64Var(&memory, "state-memory", 0, "forget the agents that were not seen for the longest beyond so many `MiB` of state; 0 for no limit")
	f.Float64Var(&budget, "alert-budget", 1, "false alerts per 1,000 agent-days to aim at")
	return c
}

// withOutput calls use with a buffered writer on the named file, nil when there is no name.
func withOutput(name string, stdout io.Writer, use func(*bufio.Writer) error) error {
	switch name {
	case "":
		return use(nil)
	case "-":
		w := bufio.NewWriter(stdout)
		return errors.Join(use(w), w.Flush())
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(use(w), w.Flush(), f.Close())
}

const maxComplaints = 20

// noClock is the receiver's clock of a replay: there is none, for what is too far in the future must not depend
// on when the replay is run. Half of the range keeps sums with it from overflowing.
const noClock = math.MaxInt64 / 2

// same reports whether both names lead to one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// replay runs the engine over the events, writes the score of each as it goes and each alert, as it stood in
// the end, when all are read, in the order of their times. Rejected lines are counted on complaints.
func replay(e *detect.Engine, in io.Reader, alerts *bufio.Writer, shape func(*alert.Alert) any, scores *bufio.Writer, complaints io.Writer) error {
	found := map[string]*alert.Alert{}
	var accepted, rejected int
	keep := func(a *alert.Alert) { found[a.ID] = a }
	var out *scoreWriter
	if scores != nil {
		out = newScoreWriter(scores)
		defer out.close() // once more does no harm
	}
	err := file.Batches(in, noClock, func(b *file.Batch) error {
		for _, err := range b.Rejected {
			if rejected++; rejected <= maxComplaints {
				fmt.Fprintln(complaints, "rejected:", err)
			}
		}
		accepted += len(b.Events)
		ahead := 0
		if out == nil {
			for i := range b.Events {
				if i >= ahead {
					ahead += e.Ahead(b.Events[i:])
				}
				e.Observe(&b.Events[i])
				e.Alerts(keep)
			}
			return nil
		}
		lines := out.batch()
		for i := range b.Events {
			if i >= ahead {
				ahead += e.Ahead(b.Events[i:])
			}
			e.Observe(&b.Events[i])
			e.Alerts(keep)
			lines = append(lines, scored{b.Events[i].ID, e.Top()})
		}
		if err := out.write(lines); err != nil {
			return fmt.Errorf("--scores: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	e.Finish()
	e.Alerts(func(a *alert.Alert) { found[a.ID] = a })
	if rejected > 0 {
		fmt.Fprintf(complaints, "rejected: %d of %d lines\n", rejected, accepted+rejected)
	}
	if out != nil {
		if err := out.close(); err != nil {
			return fmt.Errorf("--scores: %w", err)
		}
	}
	if alerts == nil {
		return nil
	}
	all := make([]*alert.Alert, 0, len(found))
	for _, a := range found {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b *alert.Alert) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	enc := json.NewEncoder(alerts)
	for _, a := range all {
		if err := enc.Encode(shape(a)); err != nil {
			return fmt.Errorf("--alerts: %w", err)
		}
	}
	return nil
}

// scored is a line to be written. The id stays valid: strings of an event are never overwritten.
type scored struct {
	id    string
	score detect.Score
}

// scoreWriter writes score lines on a goroutine of its own, in order, behind the engine by a bounded number of batches.
type scoreWriter struct {
	full, empty chan []scored
	done        chan struct{}
	err         error // set before done is closed
	closed      bool
}

func newScoreWriter(w *bufio.Writer) *scoreWriter {
	s := &scoreWriter{full: make(chan []scored, 4), empty: make(chan []scored, 6), done: make(chan struct{})}
	for range cap(s.empty) {
		s.empty <- nil
	}
	go func() {
		defer close(s.done)
		var line []byte
		for lines := range s.full {
			for i := range lines {
				if line, s.err = appendScore(line[:0], lines[i].id, lines[i].score); s.err != nil {
					return
				}
				if _, s.err = w.Write(line); s.err != nil {
					return
				}
			}
			s.empty <- lines
		}
	}()
	return s
}

// batch is an empty slice to fill and pass to write.
func (s *scoreWriter) batch() []scored {
	select {
	case b := <-s.empty:
		return b[:0]
	case <-s.done:
		return nil
	}
}

func (s *scoreWriter) write(lines []scored) error {
	select {
	case s.full <- lines:
		return nil
	case <-s.done:
		return s.err
	}
}

// close waits until all is written.
func (s *scoreWriter) close() error {
	if !s.closed {
		s.closed = true
		close(s.full)
	}
	<-s.done
	return s.err
}

func appendScore(dst []byte, id string, s detect.Score) (_ []byte, err error) {
	dst = append(dst, `{"id":`...)
	if dst, err = appendString(dst, id); err != nil {
		return nil, err
	}
	dst = append(dst, `,"score":`...)
	if s.Score == 0 {
		dst = append(dst, '0')
	} else {
		dst = strconv.AppendFloat(dst, s.Score, 'g', 8, 64)
	}
	for _, f := range [...]struct{ key, value string }{{`,"detector":`, s.Detector}, {`,"entity_kind":`, s.EntityKind}, {`,"entity_id":`, s.EntityID}} {
		if dst, err = appendString(append(dst, f.key...), f.value); err != nil {
			return nil, err
		}
	}
	return append(dst, "}\n"...), nil
}

// appendString appends s as JSON, as encoding/json would write it.
func appendString(dst []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			q, err := json.Marshal(s)
			return append(dst, q...), err
		}
	}
	return append(append(append(dst, '"'), s...), '"'), nil
}
