package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/cmd/internal/scenario"
)

func testCommand() *cobra.Command {
	var seeds string
	var verbose bool
	c := &cobra.Command{
		Use: "test [PATH...]", Short: "Run scenario files: who does what, and which alerts are to come of it",
		Long: "Run scenario files. A PATH is a file, or a directory below which the files in directories named testdata are run; without one,\n" +
			"this directory. A scenario that does not do as expected is explained as a diff. docs/scenarios.md describes the file.",
		Example: "  astray test\n  astray test detect/scraping/testdata/profiles-loud.yaml --verbose --seeds 1..20",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			over, err := seedsOf(seeds)
			if err != nil {
				return err
			}
			files, err := scenario.Files(args...)
			if err != nil {
				return usageError{err}
			}
			if len(files) == 0 {
				return usageError{fmt.Errorf("no scenarios in %s", strings.Join(args, ", "))}
			}
			return within(cmd, func(ctx context.Context) error {
				return testScenarios(ctx, files, over, verbose, cmd.OutOrStdout())
			})
		},
	}
	c.Flags().StringVar(&seeds, "seeds", "", "`SEEDS` to run instead of those of the file, such as 1..20 or 3,5")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "say how near each detector came to an alert")
	return c
}

// seedsOf reads 1..20 or 3,5.
func seedsOf(s string) ([]uint64, error) {
	var out []uint64
	if s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, two := strings.Cut(part, "..")
		if !two {
			to = from
		}
		lo, err1 := strconv.ParseUint(from, 10, 32)
		hi, err2 := strconv.ParseUint(to, 10, 32)
		if err1 != nil || err2 != nil || hi < lo || hi-lo > 1000 {
			return nil, usageError{fmt.Errorf("--seeds: %q is not like 1..20 or 3,5", s)}
		}
		for x := lo; x <= hi; x++ {
			out = append(out, x)
		}
	}
	return out, nil
}

// testScenarios runs the files, as many at a time as there are processors, and reports in their order.
func testScenarios(ctx context.Context, files []string, seeds []uint64, verbose bool, out io.Writer) error {
	type result struct {
		text string
		runs int
		bad  int // runs that failed
		err  error
	}
	results := make([]chan result, len(files))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	defer wait.Wait()
	for i := range files {
		results[i] = make(chan result, 1)
	}
	wait.Go(func() {
		for i := range files {
			slots <- struct{}{}
			wait.Go(func() {
				defer func() { <-slots }()
				var r result
				defer func() { results[i] <- r }()
				s, err := scenario.Read(files[i])
				if err != nil {
					r.err = err
					return
				}
				run := seeds
				if run == nil {
					run = s.Seeds
				}
				for _, seed := range run {
					o, err := s.Run(ctx, seed)
					if err != nil {
						r.err = err
						return
					}
					r.runs++
					if len(o.Failures) > 0 {
						r.bad++
						r.text += o.String()
					}
					if verbose {
						r.text += fmt.Sprintf("  seed %d: %d events, alerts %d, nearest to one:\n%s", seed, o.Events, len(o.Alerts), o.Margins())
					}
				}
			})
		}
	})
	bad := 0
	for i := range files {
		r := <-results[i]
		switch {
		case errors.Is(r.err, context.Canceled):
			return r.err
		case r.err != nil:
			bad++
			fmt.Fprintf(out, "ERROR %s\n%v\n", files[i], r.err)
		case r.bad > 0:
			bad++
			fmt.Fprintf(out, "FAIL  %s (%d of %d seeds)\n%s", files[i], r.bad, r.runs, r.text)
		default:
			fmt.Fprintf(out, "ok    %s\n%s", files[i], r.text)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d scenarios failed", bad, len(files))
	}
	fmt.Fprintf(out, "%d scenarios passed\n", len(files))
	return nil
}
