package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A lag that grows and is long is told of once, with what bounds the process, and so is its end; one that comes and
// goes is not.
func TestOverloadIsToldWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name            string
		insert, compute float64 // seconds of each second
		lags            []float64
		want            []string
	}{
		{"database", 0.9, 0.2, []float64{0, 5e3, 10e3, 10e3, 20e3, 25e3, 30e3, 200, 0}, []string{"level=WARN", "look at ClickHouse", "lag=25000", "growth_per_second=500", "level=INFO", "as fast as they come"}},
		{"engine", 0.1, 0.9, []float64{0, 5e3, 10e3, 15e3, 20e3, 25e3}, []string{"level=WARN", "add instances"}},
		{"short", 0.9, 0.2, []float64{0, 10, 20, 30, 40, 50, 60, 70}, nil},
		{"up and down", 0.9, 0.2, []float64{9e3, 15e3, 10e3, 1e3, 4e3, 8e3, 9e3, 2e3}, nil},
	} {
		var out bytes.Buffer
		o := &overload{log: slog.New(slog.NewTextHandler(&out, nil)), behind: 30 * time.Second}
		now, l := time.Unix(0, 0), load{assigned: 2}
		for _, lag := range c.lags {
			l.lag = lag
			o.look(now, l)
			now = now.Add(10 * time.Second)
			l.events += 1000 // 100 a second
			l.insert += 10 * c.insert
			l.compute += 10 * c.compute
		}
		rest := out.String()
		for _, text := range c.want {
			_, after, ok := strings.Cut(rest, text)
			if !ok {
				t.Errorf("%s: no %q in\n%s", c.name, text, out.String())
				break
			}
			rest = after
		}
		if n := strings.Count(out.String(), "\n"); n > 2 || c.want == nil && n > 0 {
			t.Errorf("%s: %d lines:\n%s", c.name, n, out.String())
		}
	}
}
