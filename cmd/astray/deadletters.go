package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

func deadLettersCommand(environ func(string) string) *cobra.Command {
	c := &cobra.Command{Use: "dead-letters", Short: "List, show and replay messages that were rejected",
		Example: "  astray dead-letters list --code bad_time --since 24h\n  astray dead-letters replay --code bad_time --why \"the decoder was fixed\""}
	d := &desk{}
	d.flags(c)
	c.AddCommand(deadList(d), deadShow(d), deadReplay(d, environ))
	return c
}

// letterFlags are those that select letters.
func letterFlags(c *cobra.Command, f *ledger.LetterFilter, since *string) {
	f.Partition, f.Offset = -1, -1
	fl := c.Flags()
	fl.StringVar(&f.Code, "code", "", "only rejected for this `CODE`")
	fl.StringVar(&f.Topic, "topic", "", "only of this `TOPIC`")
	fl.Int32Var(&f.Partition, "partition", -1, "only of this partition")
	fl.StringVar(since, "since", "", "only since `WHEN`: 24h, 7d, 2026-05-04")
	fl.IntVar(&f.Limit, "limit", 50, "at most so `MANY`")
	fl.Lookup("partition").DefValue = ""
}

func deadList(d *desk) *cobra.Command {
	var f ledger.LetterFilter
	var since string
	c := &cobra.Command{Use: "list", Short: "List dead letters, the newest first", Args: cobra.NoArgs, Example: "  astray dead-letters list --code bad_json",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.Since, err = ago(since, time.Now()); err != nil {
				return err
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				all, err := l.Letters(ctx, f)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "LETTER\tTIME\tCODE\tFIELD\tBYTES\tDONE\tREASON")
				for _, x := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", plain(x.ID(), 100), x.Time.UTC().Format(time.DateTime), plain(x.Code, 30), plain(x.Field, 30), x.Size, x.Action, plain(x.Reason, 120))
				}
				return w.Flush()
			})
		}}
	letterFlags(c, &f, &since)
	c.Flags().BoolVar(&f.Waiting, "waiting", false, "only those that were not replayed")
	return c
}

// parseLetter reads topic/partition/offset[/index]; a topic has no slash.
func parseLetter(s string) (f ledger.LetterFilter, index uint32, err error) {
	parts := strings.Split(s, "/")
	bad := usageError{fmt.Errorf("%.100q: a dead letter is named topic/partition/offset, as list shows it", s)}
	if len(parts) != 3 && len(parts) != 4 || parts[0] == "" {
		return f, 0, bad
	}
	p, err1 := strconv.ParseInt(parts[1], 10, 32)
	o, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || p < 0 || o < 0 {
		return f, 0, bad
	}
	if len(parts) == 4 {
		i, err := strconv.ParseUint(parts[3], 10, 32)
		if err != nil {
			return f, 0, bad
		}
		index = uint32(i)
	}
	return ledger.LetterFilter{Topic: parts[0], Partition: int32(p), Offset: o, Limit: 10_000}, index, nil
}

func deadShow(d *desk) *cobra.Command {
	return &cobra.Command{Use: "show LETTER", Short: "Show a dead letter: why it was rejected, and the message with its secrets replaced", Args: cobra.ExactArgs(1),
		Example: "  astray dead-letters show agent.events/3/81234",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, index, err := parseLetter(args[0])
			if err != nil {
				return err
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) error {
				all, err := l.Letters(ctx, f)
				if err != nil {
					return err
				}
				for _, x := range all {
					if x.Index != index {
						continue
					}
					out := cmd.OutOrStdout()
					fmt.Fprintf(out, "letter  %s\ntime    %s\ncode    %s\nfield   %s\nreason  %s\nkey     %s\nbytes   %d, of which %d are kept\n", plain(x.ID(), 300), x.Time.UTC().Format(time.RFC3339),
						plain(x.Code, 60), plain(x.Field, 100), plain(x.Reason, 1000), plain(x.Key, 300), x.Size, len(x.Raw))
					if x.Action != "" {
						fmt.Fprintf(out, "done    %s at %s\n", x.Action, x.Acted.UTC().Format(time.RFC3339))
					}
					for i, key := range x.HeaderKeys {
						fmt.Fprintf(out, "header  %s: %s\n", plain(key, 300), plain(x.HeaderValues[i], 1000))
					}
					fmt.Fprintf(out, "\n%s\n", plain(x.Raw, 0))
					return nil
				}
				return fmt.Errorf("there is no dead letter %.100q", args[0])
			})
		}}
}

func deadReplay(d *desk, environ func(string) string) *cobra.Command {
	var f ledger.LetterFilter
	var since, why string
	var again, dry bool
	c := &cobra.Command{Use: "replay [LETTER…]", Short: "Write dead letters to their topic again, each once", Args: cobra.ArbitraryArgs,
		Long: `Write dead letters to their topic again, once what they were rejected for is fixed. Each is written once: those that were
replayed before are passed over, and so are those whose replay was begun and not confirmed, unless --again is given (an event
that arrives twice within the window of duplicates is stored once all the same).

Only messages that were kept whole and held no secret can be replayed; what was cut or redacted is not what the producer
sent, and the producer has to send it again.`,
		Example: "  astray dead-letters replay agent.events/3/81234 --why \"the decoder was fixed\"\n  astray dead-letters replay --code bad_time --since 24h --why \"clock was fixed\" --dry-run",
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.name(environ)
			if err != nil {
				return err
			}
			if strings.TrimSpace(why) == "" {
				return usageError{errors.New("--why: is needed")}
			}
			if len(args) == 0 && f.Code == "" && f.Topic == "" {
				return usageError{errors.New("name letters, or --code or --topic to choose them by")}
			}
			if f.Since, err = ago(since, time.Now()); err != nil {
				return err
			}
			filters := []ledger.LetterFilter{f}
			indexes := []uint32{0}
			if len(args) > 0 {
				filters, indexes = nil, nil
			}
			for _, a := range args {
				one, index, err := parseLetter(a)
				if err != nil {
					return err
				}
				filters, indexes = append(filters, one), append(indexes, index)
			}
			cfg, _, err := d.load(cmd)
			if err != nil {
				return err
			}
			if len(cfg.Kafka.Brokers) == 0 && !dry {
				return usageError{errors.New("kafka.brokers (or ASTRAY_KAFKA_BROKERS): is needed")}
			}
			return d.open(cmd, func(ctx context.Context, l *ledger.Ledger) (err error) {
				producers := map[string]*kafka.Producer{}
				defer func() {
					for _, p := range producers {
						err = errors.Join(err, p.Close())
					}
				}()
				written, passed := 0, 0
				for i, one := range filters {
					letters, err := l.Letters(ctx, one)
					if err != nil {
						return err
					}
					if len(args) > 0 && len(letters) == 0 {
						return fmt.Errorf("there is no dead letter %.100q", args[i])
					}
					for _, x := range letters {
						if len(args) > 0 && x.Index != indexes[i] {
							continue
						}
						if reason := unfit(x, again); reason != "" {
							passed++
							fmt.Fprintf(cmd.OutOrStdout(), "%s is passed over: %s\n", plain(x.ID(), 300), reason)
							continue
						}
						if dry {
							written++
							fmt.Fprintf(cmd.OutOrStdout(), "%s would be written again\n", plain(x.ID(), 300))
							continue
						}
						p := producers[x.Topic]
						if p == nil {
							if p, err = kafka.NewProducer(broker(cfg), x.Topic); err != nil {
								return err
							}
							producers[x.Topic] = p
						}
						// The claim comes first: a crash between the two leaves a letter that is asked about, not one written twice.
						if err := l.Note(ctx, x, who, "claim", why); err != nil {
							return err
						}
						if err := p.Produce(ctx, sent(x)); err != nil {
							return err
						}
						if err := l.Note(ctx, x, who, "replay", why); err != nil {
							return err
						}
						written++
					}
				}
				verb := "replayed"
				if dry {
					verb = "to replay"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d %s, %d passed over\n", written, verb, passed)
				return nil
			})
		}}
	letterFlags(c, &f, &since)
	c.Flags().StringVar(&why, "why", "", "`REASON`, for those who read it later; needed")
	c.Flags().BoolVar(&again, "again", false, "those too that were replayed before")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be done")
	return c
}

// sent is a letter's message as it was sent.
func sent(x ledger.Letter) kafka.Message {
	m := kafka.Message{Key: []byte(x.Key), Value: []byte(x.Raw)}
	for i, key := range x.HeaderKeys {
		m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(x.HeaderValues[i])})
	}
	return m
}

// whole reports whether the headers are those that were sent.
func whole(x ledger.Letter) bool {
	size := int64(0)
	for i, key := range x.HeaderKeys {
		if size += int64(len(key) + len(x.HeaderValues[i])); redacted(x.HeaderValues[i]) {
			return false
		}
	}
	return size == x.HeadersSize
}

func redacted(text string) bool {
	return strings.Contains(text, redactionMark) || strings.Contains(text, event.FingerprintPrefix)
}

// redactionMark begins every replacement of a secret.
const redactionMark = "[secret:"

// unfit says why a letter is not written again, nothing when it is.
func unfit(x ledger.Letter, again bool) string {
	switch {
	case x.Action == "replay" && !again:
		return "it was replayed at " + x.Acted.UTC().Format(time.RFC3339)
	case x.Action == "claim" && !again:
		return "its replay was begun at " + x.Acted.UTC().Format(time.RFC3339) + " and nobody knows how it ended; --again does it"
	case x.Code == "flood":
		return "it stands for many messages that were not kept"
	case int64(len(x.Raw)) < x.Size && len(x.Raw) == 0:
		return "the message was not kept"
	case int64(len(x.Raw)) != x.Size || redacted(x.Raw) || len(x.Key) >= pipeline.MaxDeadLetter || redacted(x.Key) || !whole(x):
		return "it was cut, or held a secret, and is not what was sent; have the producer send it again"
	}
	return ""
}
