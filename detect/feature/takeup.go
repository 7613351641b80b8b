package feature

import "github.com/astray-dev/astray/models/proportion"

// TakeUp is the prior of how much of two days what an agent takes up makes up: that has no share of its own to be compared
// with. Most take up nothing, and who has a new tool uses it beside the others. Some three in 10,000 agent-days without an
// attack reach a quarter, in five worlds of three authors; the prior says ten times as many.
var TakeUp = proportion.Beta{Yes: 0.5, No: 16}

// takeUpDays is for how many days a kind of operation is new to the agent.
const takeUpDays = 4

// takeUp is the kinds of operations that an agent began with of late.
type takeUp struct {
	Kind      [8]uint32
	Since     [8]uint16 // days since the epoch
	Strange   [8]uint16 // the part of the agent's peers that does not do it, in 1/65535
	At        uint16    // where the next is put
	Day, Last float32   // operations of these kinds on the open day and the one before, each as strange as it is
}

// begin notes that the agent does something for the first time; share is the part of its peers that does it.
func (t *takeUp) begin(kind uint32, day int64, share float64) {
	i := t.At % 8
	t.Kind[i], t.Since[i], t.Strange[i] = kind, uint16(day), uint16(65535*(1-share))
	t.At = i + 1
}

// count counts an operation, and reports whether its kind is new to the agent.
func (t *takeUp) count(kind uint32, day int64) bool {
	for i, k := range t.Kind {
		if k == kind && uint16(day)-t.Since[i] < takeUpDays {
			t.Day += float32(t.Strange[i]) / 65535
			return true
		}
	}
	return false
}

// takenUp is how many of the operations of the open day and the one before are of kinds that are new to the agent; of no events
// where the event's is not, or there is too little to tell. What an alert has told is no evidence once more.
func (a *Agent) takenUp(kind uint32, day int64) (t Turn) {
	m := &a.Mix
	if !a.TakeUp.count(kind, day) || m.Told || m.LastTold || m.Count < leastTurn || m.LastCount < leastTurn {
		return t
	}
	return Turn{Count: float64(a.TakeUp.Day + a.TakeUp.Last), Events: float64(m.Count + m.LastCount), Share: TakeUp.Mean(), Days: 2, Kind: int(kind>>1) % mixBins}
}
