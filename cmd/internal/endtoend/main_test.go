package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if play(context.Background()) {
		return
	}
	os.Exit(m.Run())
}

// Each way brings every event into the table, and what is measured of it is told.
func TestEachWayIsMeasured(t *testing.T) {
	var out strings.Builder
	b := bench{events: 3000, rounds: 1, agents: 50, rate: 200, span: 2 * time.Second, ways: allWays(), out: &out}
	if err := b.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		`round 1  engine .* process \+ \S+ server, [1-9]\d* MiB at most, 3000 rows`, `round 1  topic .* 3000 rows`, `round 1  no-detect .* 3000 rows, 0 alerts`, `round 1  plain .* 3000 rows, 0 alerts`,
		`median`, `at 200 events/s: [1-9]\d* of \d+ alerts, p50 \d+`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("nothing like %q in\n%s", want, out.String())
		}
	}
}
