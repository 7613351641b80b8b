package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/file"
	"github.com/astray-dev/astray/ingest/kafka"
)

func demoCommand() *cobra.Command {
	var events string
	var duration time.Duration
	c := &cobra.Command{
		Use: "demo", Short: "Start an embedded broker, database and engine, and stream a file of events through them", Args: cobra.NoArgs,
		Example: "  astray demo --events events.ndjson.zst --duration 60s",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if events == "" {
				return usageError{errors.New("--events: name an NDJSON file (.gz, .zst, - for standard input)")}
			}
			ctx, stop, release := signals(cmd.Context())
			defer release()
			return demo(ctx, stop, events, duration, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&events, "events", "", "NDJSON `FILE` of events")
	c.Flags().DurationVar(&duration, "duration", 0, "end by itself after this long (default: at Ctrl-C)")
	return c
}

func demo(ctx context.Context, stop <-chan struct{}, events string, duration time.Duration, stdin io.Reader, out io.Writer) (err error) {
	in, err := file.Open(events, stdin)
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	defer in.Close()
	dir, err := os.MkdirTemp("", "astray-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	shown := int64(-1)
	server, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: dir, Progress: func(what string, done, total int64) {
		if part := 10 * done / max(total, 1); part != shown {
			shown = part
			fmt.Fprintf(out, "%s %d %%\n", what, 10*part)
		}
	}})
	if err != nil {
		return err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, server.Stop(ending))
	}()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, app.Events), kfake.SeedTopics(1, app.Alerts, app.Dead))
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	defer broker.Close()
	fmt.Fprintf(out, "database: %s\n          %s\n", server.ClientCommand(), server.HTTPURL())
	ended := make(chan error, 1)
	finish := make(chan struct{})
	go func() { ended <- app.Run(ctx, finish, app.Config{Brokers: broker.ListenAddrs(), DSN: server.DSN()}) }()
	produced := make(chan streamed, 1)
	streaming, enough := context.WithCancel(ctx)
	defer enough()
	go func() {
		n, err := stream(streaming, in, broker.ListenAddrs())
		produced <- streamed{n, err}
	}()
	opt, err := native.ParseDSN(server.DSN())
	if err != nil {
		return err
	}
	conn, err := native.Open(opt)
	if err != nil {
		return err
	}
	defer conn.Close()
	var total streamed
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var end <-chan time.Time
	if duration > 0 {
		t := time.NewTimer(duration)
		defer t.Stop()
		end = t.C
	}
	told := map[string]bool{}
	var c counts
	enoughSaid := false
	for done := false; !done; {
		select {
		case err := <-ended:
			return errors.Join(errors.New("the engine ended by itself"), err)
		case total = <-produced:
			if total.err != nil && !enoughSaid {
				return total.err
			}
			fmt.Fprintf(out, "all %d messages are on the topic\n", total.n)
			produced = nil
		case <-tick.C:
			before := c.stored
			if c.read(ctx, conn) != nil {
				continue // the schema is not there yet
			}
			fmt.Fprintf(out, "events %d (+%d/s)  agents %d  alerts %d\n", c.stored, c.stored-before, c.agents, c.alerts)
			if err := tell(ctx, conn, told, out); err != nil {
				return err
			}
			// Asked to end, it lets what is on the topic arrive first.
			done = enoughSaid && produced == nil && c.stored+c.dead >= uint64(total.n)
		case <-end:
			enoughSaid, end = true, nil
			enough()
		case <-stop:
			enoughSaid, stop = true, nil
			enough()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	close(finish)
	if err := <-ended; err != nil {
		return err
	}
	if err := c.read(ctx, conn); err != nil {
		return err
	}
	fmt.Fprintf(out, "demo: produced=%d stored=%d dead=%d alerts=%d attacks=0 found=0\n", total.n, c.stored, c.dead, c.alerts)
	return nil
}

type streamed struct {
	n   int
	err error
}

// stream writes each line of the file to the topic as it is, keyed by agent.
func stream(ctx context.Context, in io.Reader, brokers []string) (n int, err error) {
	p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, app.Events)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var messages []kafka.Message
	err = file.Batches(in, noClock, func(b *file.Batch) error {
		messages = messages[:0]
		for i := range b.Events {
			e := &b.Events[i]
			messages = append(messages, kafka.Message{Key: []byte(e.AgentID), Value: decode.AppendEvent(nil, e)})
		}
		// A batch that was begun is written to its end, so that what is counted is what is on the topic.
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.Produce(context.WithoutCancel(ctx), messages...); err != nil {
			return err
		}
		n += len(messages)
		return nil
	})
	return n, err
}

type counts struct{ stored, dead, alerts, agents uint64 }

func (c *counts) read(ctx context.Context, conn native.Conn) error {
	return conn.QueryRow(ctx, `SELECT (SELECT count() FROM events), (SELECT count() FROM dead_letters FINAL),
		(SELECT count() FROM alerts FINAL), (SELECT uniq(agent_id) FROM events)`).Scan(&c.stored, &c.dead, &c.alerts, &c.agents)
}

// tell prints the alerts that were not told yet. Text of agents is quoted, so that it cannot move the cursor.
func tell(ctx context.Context, conn native.Conn, told map[string]bool, out io.Writer) error {
	rows, err := conn.Query(ctx, "SELECT id, severity, title, reason FROM alerts FINAL ORDER BY time, id LIMIT 1000")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, severity, title, reason string
		if err := rows.Scan(&id, &severity, &title, &reason); err != nil {
			return err
		}
		if !told[id] {
			told[id] = true
			fmt.Fprintf(out, "ALERT %s %.200q\n      %s\n", severity, title, reason)
		}
	}
	return rows.Err()
}
