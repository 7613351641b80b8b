package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/file"
)

func decodeCommand() *cobra.Command {
	var whole, quiet bool
	var headers []string
	c := &cobra.Command{
		Use: "decode FILE", Short: "Show what messages of any format become, and why one is rejected",
		Long: "Show what messages of any format become: the native events on standard output, and for each message what it was\n" +
			"taken for, or why it is rejected, on standard error. FILE has one JSON message a line, or is one message: a single\n" +
			"JSON object over several lines, an OTLP/protobuf export, or whatever it is with --whole. A name that ends in .gz or\n" +
			".zst is decompressed, and - is standard input. The exit status is 1 when a message was rejected.",
		Example: "  astray decode export.json\n  astray decode --header ce_id=1 --header ce_source=/a --header ce_type=t --header ce_specversion=1.0 value.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var with []decode.Header
			for _, h := range headers {
				key, value, ok := strings.Cut(h, "=")
				if !ok || key == "" {
					return usageError{fmt.Errorf("--header: %q is not KEY=VALUE", h)}
				}
				with = append(with, decode.Header{Key: key, Value: []byte(value)})
			}
			in, err := file.Open(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer in.Close()
			out := bufio.NewWriter(cmd.OutOrStdout())
			err = explain(in, with, whole, quiet, time.Now().UnixMicro(), out, cmd.ErrOrStderr())
			return errors.Join(err, out.Flush())
		},
	}
	f := c.Flags()
	f.BoolVar(&whole, "whole", false, "take the file for one message, whatever is in it")
	f.BoolVar(&quiet, "quiet", false, "report rejected messages only")
	f.StringArrayVar(&headers, "header", nil, "a header of every message, `KEY=VALUE`, as a CloudEvent in binary mode has them; repeatable")
	return c
}

// explain decodes the messages in r. Their secrets are redacted, as they are before anything is stored.
func explain(r io.Reader, headers []decode.Header, whole, quiet bool, now int64, out, reports io.Writer) error {
	in := bufio.NewReaderSize(r, event.MaxMessage+2)
	var d decode.Formats
	var rejected, messages int
	one := func(name string, value []byte) error {
		messages++
		var events []*event.Event
		err := d.Decode(decode.Message{Value: value, Headers: headers}, now, func() *event.Event {
			events = append(events, new(event.Event))
			return events[len(events)-1]
		})
		what := d.Last()
		kind := string(what.Format)
		if kind == "" {
			kind = "no known format"
		}
		if what.Envelope != "" {
			kind += " in a " + what.Envelope + " CloudEvent"
		}
		if what.Passed > 0 {
			kind += fmt.Sprintf(", %d spans passed over that are no agent's activity", what.Passed)
		}
		switch {
		case errors.Is(err, decode.ErrNone):
			fmt.Fprintf(reports, "%s: %s: no events\n", name, kind)
			return nil
		case err != nil:
			rejected++
			fmt.Fprintf(reports, "%s: %s: rejected: %v\n", name, kind, err)
			return nil
		}
		if !quiet {
			fmt.Fprintf(reports, "%s: %s: %d events\n", name, kind, len(events))
		}
		for _, e := range events {
			for _, s := range e.Secrets {
				fmt.Fprintf(reports, "%s: event %q: a secret in %s (%s) was replaced\n", name, e.ID, s.Field, s.Rule)
			}
			if _, err := out.Write(decode.AppendEvent(nil, e)); err != nil {
				return err
			}
		}
		return nil
	}
	head, err := in.Peek(event.MaxMessage + 2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if whole || oneMessage(head, err != nil) {
		if err == nil {
			return fmt.Errorf("the message is over %d bytes (too_large)", event.MaxMessage)
		}
		if err := one("message", head); err != nil {
			return err
		}
	} else {
		err := lines(in, func(n int, text []byte, long bool) error {
			if long {
				messages++
				rejected++
				fmt.Fprintf(reports, "line %d: rejected: a message is at most 1 MiB (too_large)\n", n)
				return nil
			}
			return one(fmt.Sprint("line ", n), text)
		})
		if err != nil {
			return err
		}
	}
	if rejected > 0 {
		return fmt.Errorf("%d of %d messages were rejected", rejected, messages)
	}
	return nil
}

// oneMessage guesses whether head is one message rather than one a line: bytes that no JSON text has, or a first
// line that is not a whole object. all says that there is no more than head.
func oneMessage(head []byte, all bool) bool {
	if !all {
		return false
	}
	for _, b := range head {
		if b < 0x20 && b != '\n' && b != '\r' && b != '\t' {
			return true
		}
	}
	first, _, more := bytes.Cut(bytes.TrimSpace(head), []byte("\n"))
	return more && (len(first) == 0 || first[len(bytes.TrimSpace(first))-1] != '}')
}

// lines calls use for every line that is not blank. long says that it has more than a message may have.
func lines(in *bufio.Reader, use func(n int, text []byte, long bool) error) error {
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if long || len(bytes.TrimSpace(text)) > 0 {
			if err := use(n, text, long); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}
