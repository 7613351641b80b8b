package detour_test

import (
	"fmt"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/detour"
	"github.com/astray-dev/astray/ingest/event"
)

const (
	second = 1_000_000
	start  = 1_700_006_400_000_000
)

// stream is what agents of four tasks do: each reads and writes to the place of its task. Every agent lives for one run.
type stream struct {
	e       *detect.Engine
	runs, n int
	alerts  int
}

func newStream() *stream {
	s := &stream{e: detect.New(detect.Config{}, detour.Detector{})}
	for range 40 {
		for task := range 4 {
			s.run(task)
		}
	}
	return s
}

func (s *stream) event(agent string, task int, service, destination string) float64 {
	s.n++
	s.e.Observe(&event.Event{ID: fmt.Sprint(s.n), Time: start + int64(s.n)*second, Kind: event.APICall, Access: event.Write, AgentID: agent,
		Cohort: fmt.Sprint("task-", task), Action: "call", Service: service, Destination: destination})
	s.e.Alerts(func(*alert.Alert) { s.alerts++ })
	return s.e.Top().Score
}

// run is an agent's whole life. It returns the highest score of what it does beyond its task.
func (s *stream) run(task int, beyond ...[2]string) (top float64) {
	s.runs++
	agent := fmt.Sprint("agent-", s.runs)
	s.event(agent, task, "read", "")
	s.event(agent, task, fmt.Sprint("write-", task%2), fmt.Sprint("place-", task))
	for _, b := range beyond {
		top = max(top, s.event(agent, task, b[0], b[1]))
	}
	return top
}

func TestTheFurtherFromTheTaskTheHigher(t *testing.T) {
	s := newStream()
	own := s.run(0, [2]string{"write-0", "place-0"})
	sister := s.run(0, [2]string{"write-0", "place-2"})
	tool := s.run(0, [2]string{"write-1", "place-3"})
	nobody := s.run(0, [2]string{"write-0", "nobody"})
	both := s.run(0, [2]string{"upload", "elsewhere"})
	if own > 0 || sister <= own || tool <= sister || nobody <= sister || both <= nobody {
		t.Errorf("the task's place %.2f, a sister's %.2f, hers by her tool %.2f, one of nobody's %.2f, by a tool of nobody's %.2f: want them to rise",
			own, sister, tool, nobody, both)
	}
	if s.alerts > 0 {
		t.Errorf("%d alerts: a new way is no misbehaviour", s.alerts)
	}
}

func TestWhatMisleadsSeveralKindsRanksHigher(t *testing.T) {
	s := newStream()
	first := s.run(0, [2]string{"write-0", "drop"})
	same := s.run(0, [2]string{"write-0", "drop"})
	second := s.run(1, [2]string{"write-1", "drop"})
	third := s.run(2, [2]string{"write-0", "drop"})
	if second < first+0.5 || third < second+0.5 {
		t.Errorf("agents of three tasks turn to one place at %.2f, %.2f, %.2f: each should add", first, second, third)
	}
	if same > first+0.1 {
		t.Errorf("a second agent of the task turns there at %.2f, the first at %.2f: it has its reasons", same, first)
	}
}
