package detect

import (
	"testing"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/evt"
)

// bare is a detector of the agent's events that finds nothing: the tests hand its findings over.
type bare struct{}

func (bare) Info() Info                                                 { return Info{Name: "bare", Severity: alert.Low} }
func (bare) Examine(*feature.Store, *feature.View, []Finding) []Finding { return nil }

// An agent that shows every day what others hardly ever do is known for it; what is told in an alert it is not known for,
// and more than ever is news again.
func TestWhatAnAgentIsKnownFor(t *testing.T) {
	e := New(Config{}, bare{})
	raw := func(x float64) *Finding {
		return &Finding{Reading: feature.Reading{Name: "events"}, LogP: -x * 2.302585}
	}
	odd, others := &track{day: 1}, make([]*track, 50)
	for i := range others {
		others[i] = &track{day: 1}
	}
	day := func(odds float64) (p float64) {
		for i, o := range others {
			e.weigh(o, 0, raw(1+float64((i*7+int(o.day)*13)%50)/25))
			e.learn(o, o.day, (o.day+1)*86400*micros, true)
			o.day++
		}
		f := raw(odds)
		p = e.p(odd, 0, e.lens(0, f), odds)
		e.weigh(odd, 0, f)
		return p
	}
	for range 8 {
		day(1)
		e.learn(odd, odd.day, (odd.day+1)*86400*micros, true)
		odd.day++
	}
	first := day(7.4)
	odd.open = &episode{last: odd.day * 86400 * micros}
	e.learn(odd, odd.day, (odd.day+1)*86400*micros, true) // told: it is no part of what is usual
	odd.day++
	odd.open = nil
	if p := day(7.4); p > 2*first {
		t.Errorf("what was told in an alert is usual the next day: p %v after %v", p, first)
	}
	e.learn(odd, odd.day, (odd.day+1)*86400*micros, true)
	odd.day++
	if p := day(7.4); p < 20*first || p > 0.2 {
		t.Errorf("the day after a benign one like it: p %v after %v", p, first)
	}
	if p := e.p(odd, 0, 0, 12); p > 1e-4 {
		t.Errorf("more than ever before: p %v", p)
	}
	if p := e.p(others[0], 0, 0, 7.4); p > 2*first {
		t.Errorf("another agent: p %v after %v", p, first)
	}
	if e.lenses[0].tail.Outstanding(evt.Bin(1)) {
		t.Error("a usual score stands out")
	}
}

// What is told on two days is no news on the third, unless it is grave: that only people may call benign.
func TestTheThirdTimeIsNoNews(t *testing.T) {
	for _, severity := range []alert.Severity{alert.Low, alert.Medium, alert.High, alert.Critical} {
		third := timesTold(t, Config{}, severity)
		if grave := severity == alert.High || severity == alert.Critical; grave && third > 1e-4 || !grave && third < 0.05 {
			t.Errorf("severity %s: the third time p = %v", severity, third)
		}
		if third = timesTold(t, Config{Trusting: true}, severity); third < 0.05 {
			t.Errorf("severity %s: the third time p = %v to one that trusts", severity, third)
		}
	}
}

// timesTold is the p-value of what was told on two days when it comes on the third.
func timesTold(t *testing.T, cfg Config, severity alert.Severity) float64 {
	e := New(cfg, bare{})
	e.infos[0].Severity = severity
	raw := func(x float64) *Finding {
		return &Finding{Reading: feature.Reading{Name: "events"}, LogP: -x * 2.302585}
	}
	odd, other := &track{}, &track{}
	p := func(day int64, told bool) (p float64) {
		for i := range 60 {
			e.weigh(other, 0, raw(1+float64((i*7+int(day)*13)%50)/25))
			e.learn(other, day, (day+1)*86400*micros, true)
		}
		p = e.p(odd, 0, e.lens(0, raw(9)), 9)
		e.weigh(odd, 0, raw(9))
		odd.open = nil
		if told {
			odd.open = &episode{last: day * 86400 * micros}
		}
		e.learn(odd, day, (day+1)*86400*micros, true)
		return p
	}
	p(1, false) // a stream's first day teaches nothing
	odd.peaks, odd.heard = nil, nil
	first, second, third := p(2, true), p(3, true), p(4, true)
	if !cfg.Trusting && second > 2*first {
		t.Errorf("the second time p = %v after %v", second, first)
	}
	return third
}

// What detectors may alert at falls faster than a budget below one, and the parts of the budget are what people asked for.
func TestAStrictBudgetIsStricterThanItsPValues(t *testing.T) {
	at := func(budget float64) Share { return New(Config{Budget: budget}, bare{}).Shares()[0] }
	for _, b := range []float64{0.1, 0.3, 1, 3} {
		s := at(b)
		if s.Budget != b {
			t.Errorf("of a budget of %v one detector has %v", b, s.Budget)
		}
		if b >= 1 && s.Threshold != b/1000 || b < 1 && s.Threshold > b*b/1000 {
			t.Errorf("budget %v: alerts from p = %v on", b, s.Threshold)
		}
	}
}
