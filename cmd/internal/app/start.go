package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go"
	native "github.com/ClickHouse/clickhouse-go/v2"
	kafkago "github.com/segmentio/kafka-go"
)

// errStopped says that the process was asked to stop before everything was there.
var errStopped = errors.New("app: stopped before it had begun")

// starter does what has to be done before the topic is read, with a database and brokers that may not be there yet:
// whoever starts everything at once, or while a database is being restarted, is not to start Astray again and again.
type starter struct {
	log          *slog.Logger
	first, limit time.Duration // pauses double from the one to the other
}

// await calls f until it succeeds, with growing pauses, and says in the log what it waits for. It gives up when stop is
// closed (errStopped), when ctx ends, and at an error that waiting does not mend. f's context ends with either.
func (s starter) await(ctx context.Context, stop <-chan struct{}, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stop:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	begin := time.Now()
	for attempt := 1; ; attempt++ {
		err := f(ctx)
		switch {
		case err == nil:
			if attempt > 1 {
				s.log.Info("app: it is there now", "what", what, "attempts", attempt, "waited", time.Since(begin).Round(time.Millisecond))
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case hopeless(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		pause := min(s.first<<min(attempt-1, 16), s.limit)
		pause = pause/2 + rand.N(pause/2+1)
		s.log.Warn("app: cannot start yet, trying again; not ready until then", "waiting_for", what, "attempt", attempt, "pause", pause, "err", err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// hopeless reports whether an error is an answer that says that something is configured wrongly: that the next attempt
// would be answered otherwise is not to be expected, and a process that ends shows it better than one that waits.
func hopeless(err error) bool {
	// UNKNOWN_DATABASE, UNKNOWN_USER, ACCESS_DENIED, AUTHENTICATION_FAILED, and SYNTAX_ERROR, UNKNOWN_FUNCTION,
	// UNKNOWN_SETTING of a server that is too old for the schema.
	codes := []int{81, 192, 497, 516, 62, 46, 115}
	var a *native.Exception
	if errors.As(err, &a) {
		return slices.Contains(codes, int(a.Code))
	}
	if b, ok := ch.AsException(err); ok {
		return slices.Contains(codes, int(b.Code))
	}
	var k kafkago.Error
	if errors.As(err, &k) {
		return slices.Contains([]kafkago.Error{kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
			kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.PolicyViolation, kafkago.InvalidTopic}, k)
	}
	return false
}
