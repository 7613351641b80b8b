package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

const manyAgents = 50_000

// residentPerAgent is how much more memory a replay of many agents takes at its peak than one of few, for each agent
// seen: their states, and the garbage that the collector leaves between its rounds.
func (r *report) residentPerAgent(ctx context.Context) (perAgent float64, agents int, err error) {
	few, a, err := r.resident(ctx, 100)
	if err != nil {
		return 0, 0, err
	}
	many, b, err := r.resident(ctx, manyAgents)
	if err != nil {
		return 0, 0, err
	}
	return (many - few) / float64(b-a), b, nil
}

// resident replays a fifth of a day of a world and returns the peak of the replay's resident memory in bytes and how
// many agents the world has shown.
func (r *report) resident(ctx context.Context, agents int) (bytes float64, seen int, err error) {
	world, err := simulate.New(simulate.Config{Agents: agents, Days: 0.2, Seed: r.seed, Attacks: []string{"none"}})
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, r.astray, "replay", "--events", "-", "--alerts", "/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	w := bufio.NewWriterSize(in, 1<<20)
	ids := map[string]bool{}
	var ev event.Event
	var line []byte
	for err == nil && world.Next(&ev) {
		ids[ev.AgentID] = true
		line = decode.AppendEvent(line[:0], &ev)
		_, err = w.Write(line)
	}
	if e := w.Flush(); err == nil {
		err = e
	}
	in.Close() // what it could not take, Wait reports
	if e := cmd.Wait(); e != nil {
		err = e
	}
	if err != nil {
		return 0, 0, fmt.Errorf("replay of %d agents: %w", agents, err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, fmt.Errorf("no resource usage on %s", runtime.GOOS)
	}
	bytes = float64(usage.Maxrss)
	if runtime.GOOS == "linux" { // there it counts kilobytes
		bytes *= 1024
	}
	return bytes, len(ids), nil
}
