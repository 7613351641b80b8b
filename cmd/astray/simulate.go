package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

func simulateCommand() *cobra.Command {
	var cfg simulate.Config
	var start, out, truth string
	c := &cobra.Command{
		Use: "simulate", Short: "Write the events of a simulated network of agents, and which of them are attacks",
		Long: "Write the events of a simulated network of agents, and which of them are attacks.\n\nEqual flags give equal files. Kinds of attack: " +
			strings.Join(simulate.Kinds(), ", ") + ".",
		Example: "  astray simulate --agents 300 --days 7 --seed 1 --out events.ndjson.zst --truth truth.json\n" +
			"  astray simulate --agents 300 --days 2 --attacks none --out - | astray replay --events - --alerts -",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usageError{errors.New("--out: name a file (.gz, .zst), or - for standard output")}
			}
			if out == truth {
				return usageError{errors.New("--out and --truth: name two files")}
			}
			if start != "" {
				t, err := time.Parse(time.RFC3339, start)
				if err != nil {
					return usageError{fmt.Errorf("--start: %w", err)}
				}
				cfg.Start = t
			}
			world, err := simulate.New(cfg)
			if err != nil {
				return usageError{err}
			}
			err = withEvents(out, cmd.OutOrStdout(), func(w io.Writer) error {
				var ev event.Event
				var line []byte
				for world.Next(&ev) {
					line = decode.AppendEvent(line[:0], &ev)
					if _, err := w.Write(line); err != nil {
						return fmt.Errorf("--out: %w", err)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return withOutput(truth, cmd.OutOrStdout(), func(w *bufio.Writer) error {
				if w == nil {
					return nil
				}
				enc := json.NewEncoder(w)
				enc.SetIndent("", " ")
				if err := enc.Encode(world.Truth()); err != nil {
					return fmt.Errorf("--truth: %w", err)
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.IntVar(&cfg.Agents, "agents", 300, "`NUMBER` of agents, 20 or more")
	f.Float64Var(&cfg.Days, "days", 7, "length of the span in `DAYS`")
	f.Uint64Var(&cfg.Seed, "seed", 1, "`SEED` of everything that is random")
	f.StringVar(&start, "start", "", "start of the span, an RFC 3339 `TIME` (default 2026-01-05T00:00:00Z)")
	f.StringSliceVar(&cfg.Attacks, "attacks", nil, "`KINDS` of attack to mix in, separated by commas, or none (default all)")
	f.StringVar(&out, "out", "", "write events to `FILE` (.gz, .zst, - for standard output)")
	f.StringVar(&truth, "truth", "", "write what a detector should find to `FILE`")
	return c
}

// withEvents calls use with a buffered writer on the named file, which compresses when the name says so.
func withEvents(name string, stdout io.Writer, use func(io.Writer) error) (err error) {
	to := stdout
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	w := bufio.NewWriterSize(to, 1<<20)
	switch {
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		return errors.Join(use(z), z.Close(), w.Flush())
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewWriter(w)
		if err != nil {
			return err
		}
		return errors.Join(use(z), z.Close(), w.Flush())
	}
	return errors.Join(use(w), w.Flush())
}
