package feature

import "testing"

func TestWhatFailsForOthersAsWellIsNobodysProbing(t *testing.T) {
	e := &Entity{}
	fails := func(agent uint32, minute, times int, known bool) (counted int) {
		for i := range times {
			if !e.answered(agent, uint32(minute+i), uint32(minute*100+i), known || i > 0, true) {
				counted++
			}
		}
		return counted
	}
	if n := fails(1, 100, 10, true); n != 10 {
		t.Errorf("of the first agent's 10 failures %d count", n)
	}
	if n := fails(2, 120, 10, true); n != 10 {
		t.Errorf("one other agent explains %d of 10 failures", 10-n)
	}
	if n := fails(3, 140, 10, true); n != 0 {
		t.Errorf("%d failures of a third agent count", n)
	}
	if n := fails(4, 160, 10, false); n != 10 {
		t.Errorf("of an agent that the operation never worked for %d of 10 failures count", n)
	}
	e.answered(1, 200, 1, true, false)
	if n := fails(5, 210, 10, true); n != 0 {
		t.Error("agents 2 and 3 explain the failures no more since it works for agent 1")
	}
	for agent := range uint32(6) {
		e.answered(agent, 220, 1, true, false)
	}
	if n := fails(6, 230, 10, true); n != 10 {
		t.Errorf("what works for all others explains %d of 10 failures", 10-n)
	}
}

// An agent that asks for one missing thing over and over does not make the operation fail for others.
func TestOneMissingThingIsNoBrokenOperation(t *testing.T) {
	e := &Entity{}
	for i := range 20 {
		e.answered(1, uint32(100+i), 7, true, true)
		e.answered(2, uint32(100+i), 8, true, true)
	}
	if e.answered(3, 130, 9, true, true) {
		t.Error("two agents that poll for one thing each explain the failures of a third")
	}
	if e.answered(3, 1600, 9, true, true) {
		t.Error("failures of the day before explain those of today")
	}
}
