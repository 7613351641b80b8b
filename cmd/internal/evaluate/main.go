// Evaluate measures how well Astray detects, and writes EVALUATION.md.
//
// It runs the built program, as anybody would, over labelled public data and over simulated worlds of seeds that
// nothing was tuned on, scores what comes out with the scorers that lie beside the data, and writes the figures
// beside the targets and those of others. Labels and truths are read here and by the scorers only.
//
// Everything from the heading "What is missed, and why" on in EVALUATION.md is written by people and kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"
)

// options are the flags.
type options struct {
	astray, data, out string
	worlds, quiet     shapes
	seed              uint64
	dir               string // for what is written on the way
	keep              bool   // it, events included
	poison            bool   // measure what adversaries gain by preparing
}

// shape is the size of a simulated world.
type shape struct {
	agents int
	days   float64
}

func (s shape) String() string { return fmt.Sprintf("%dx%g", s.agents, s.days) }

type shapes []shape

func (s *shapes) String() string {
	var parts []string
	for _, w := range *s {
		parts = append(parts, w.String())
	}
	return strings.Join(parts, ",")
}

// Set reads a flag's value, like 300x7,1000x4.
func (s *shapes) Set(v string) error {
	*s = nil
	for part := range strings.SplitSeq(v, ",") {
		var w shape
		if n, err := fmt.Sscanf(part, "%dx%g", &w.agents, &w.days); n != 2 || w.agents <= 0 || w.days <= 0 {
			return errors.Join(fmt.Errorf("%q is not like 300x7", part), err)
		}
		*s = append(*s, w)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	var o options
	f := flag.NewFlagSet("evaluate", flag.ContinueOnError)
	data := os.Getenv("SHARED")
	if data == "" {
		data = "../shared/data"
	}
	f.StringVar(&o.astray, "astray", "bin/astray", "the program to evaluate")
	f.StringVar(&o.data, "data", data, "directory of the labelled sets and the scorers (environment: SHARED); sets that are not there are left out")
	f.StringVar(&o.out, "out", "EVALUATION.md", "the report to write")
	o.worlds = shapes{{300, 7}, {300, 7}, {300, 7}, {100, 14}, {1000, 4}}
	o.quiet = shapes{{600, 7}, {300, 14}, {1200, 4}}
	f.Var(&o.worlds, "worlds", "simulated worlds with attacks, each agents`x`days, separated by commas")
	f.Var(&o.quiet, "quiet-worlds", "simulated worlds without attacks, likewise")
	f.Uint64Var(&o.seed, "seed", 9001, "the first seed; worlds without attacks begin a thousand later")
	f.BoolVar(&o.poison, "poisoning", true, "measure adversaries that poison what is learned")
	f.StringVar(&o.dir, "keep", "", "keep worlds, truths, alerts and scores in this directory (some gigabytes), to look into misses and false alerts")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.keep = o.dir != ""; o.keep {
		if err := os.MkdirAll(o.dir, 0o755); err != nil {
			return err
		}
	} else {
		if o.dir, err = os.MkdirTemp("", "evaluate-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}

	start := time.Now()
	r := &report{options: o}
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.took = time.Since(start)
	old, err := os.ReadFile(o.out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(o.out, []byte(r.markdown()+keep(string(old))), 0o644)
}

const byHand = "\n## What is missed, and why\n"

// keep is the part of an old report that people wrote.
func keep(old string) string {
	if i := strings.Index(old, byHand); i >= 0 {
		return old[i:]
	}
	return byHand
}

// measure does all that the report needs, two things at a time. Memory comes first, because a process counts the
// peak of the one that started it for its own; speed comes last and alone.
func (r *report) measure(ctx context.Context) error {
	var err error
	if r.perAgent, r.residents, err = r.residentPerAgent(ctx); err != nil {
		return err
	}
	var jobs []func(context.Context) error
	for i := range publicSets {
		s := &publicSets[i]
		if _, err := os.Stat(r.set(s.name, ".ndjson.zst")); err != nil {
			r.missing = append(r.missing, s.name)
			continue
		}
		result := &setResult{set: s}
		r.sets = append(r.sets, result)
		jobs = append(jobs, func(ctx context.Context) error { return r.runSet(ctx, result) })
	}
	r.worldResults = make([]worldResult, len(r.worlds))
	for i := range r.worldResults {
		jobs = append(jobs, func(ctx context.Context) error {
			return r.runWorld(ctx, r.seed+uint64(i), r.worlds[i], &r.worldResults[i])
		})
	}
	r.quietResults = make([]quietResult, len(r.quiet))
	for i := range r.quietResults {
		jobs = append(jobs, func(ctx context.Context) error {
			return r.runQuiet(ctx, r.seed+1000+uint64(i), r.quiet[i], &r.quietResults[i])
		})
	}
	if r.poison {
		jobs = append(jobs, r.poisonJobs()...)
	}
	if err := parallel(ctx, 2, jobs); err != nil {
		return err
	}
	return r.measureCost(ctx)
}

func parallel(ctx context.Context, width int, jobs []func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan func(context.Context) error)
	var wait sync.WaitGroup
	for range width {
		wait.Go(func() {
			for job := range queue {
				if err := job(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, job := range jobs {
		if ctx.Err() != nil {
			break
		}
		queue <- job
	}
	close(queue)
	wait.Wait()
	return context.Cause(ctx)
}
