package demo

import (
	"fmt"
	"strconv"
	"time"

	"github.com/astray-dev/astray/ingest/simulate"
)

// Phase of a demo.
type Phase uint8

const (
	Starting Phase = iota // servers start; the first time, one is downloaded
	History               // the past is streamed at full speed
	Live                  // events come at a pace
	Draining              // no more events come; those on the topic are worked through
)

// State is what a screen shows.
type State struct {
	Phase    Phase
	What     string  // what is being done while starting
	Progress float64 // 0 to 1, of starting or history; negative when it is not known
	Clock    time.Time
	Pace     string // how the world's time runs
	File     bool   // a file is streamed, there is no world

	Produced, Stored, Dead uint64
	Rate                   float64 // events a second, stored
	Rates                  []float64
	Lag                    float64
	Agents                 int
	Alerts                 []*Told // newest last
	Attacks                []simulate.Attack
	Found                  map[string]bool
	Trouble                string // what is wrong with the database, if something is
	Query                  []string
	Triage                 string // where alerts are triaged in Grafana, or how to get one
}

// Screen shows how a demo goes. It is used by one goroutine.
type Screen interface {
	Show(*State)
	Close() error
}

// Result is what was read back from the database in the end.
type Result struct{ Produced, Stored, Dead, Alerts, Attacks, Found uint64 }

func (r Result) String() string {
	return fmt.Sprintf("demo: produced=%d stored=%d dead=%d alerts=%d attacks=%d found=%d", r.Produced, r.Stored, r.Dead, r.Alerts, r.Attacks, r.Found)
}

// thousands groups the digits of n.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// since reads like 45 s, 12 min, 3.4 h.
func since(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
