package rate

import (
	"encoding/binary"
	"fmt"
	"math"
)

const (
	hour = 3600
	day  = 24 * hour
	bins = 48
)

// Season is the rhythm of the week: a factor on the rate for each hour of a weekday and of a weekend day, in UTC.
//
// Each factor has a Gamma prior with mean 1, so the rhythm is flat until there are events enough to say
// otherwise: an hour with Count events where Expected would be seen at a flat rate has the factor
// (c+Count)/(c+Expected), c being the concentration in events. Between the middles of two hours the factor is
// interpolated. 384 bytes: keep one per cohort, and one per agent only where the agent is worth it.
type Season struct {
	Hour [bins]struct{ Count, Expected float32 }
}

// Learn adds count events to the hour that holds the time (seconds since the epoch), where a flat rate would have
// given expected. Each hour forgets only when it is visited: keep is Keep of the exposure spent in it.
func (s *Season) Learn(time, count, expected, keep float64) {
	h := &s.Hour[bin(time)]
	h.Count = float32(float64(h.Count)*keep + count)
	h.Expected = float32(float64(h.Expected)*keep + expected)
}

// Factor is the factor at a time (seconds since the epoch). Multiply the exposure by it, both to learn and to
// predict: ten minutes at noon may be worth twenty flat ones.
func (s *Season) Factor(time, concentration float64) float64 {
	at := math.Mod(time, hour)
	if at < 0 {
		at += hour
	}
	x := at/hour - 0.5
	here, other := s.factor(time, concentration), 0.0
	if x < 0 {
		other, x = s.factor(time-hour, concentration), -x
	} else {
		other = s.factor(time+hour, concentration)
	}
	return here*(1-x) + other*x
}

func (s *Season) factor(time, concentration float64) float64 {
	h := &s.Hour[bin(time)]
	return (concentration + float64(h.Count)) / (concentration + float64(h.Expected))
}

// The epoch was a Thursday.
func bin(time float64) int {
	days := math.Floor(time / day)
	h := int((time - days*day) / hour)
	if h > 23 { // rounding just below midnight
		h = 23
	}
	if weekday := (int64(days)%7 + 7) % 7; weekday == 2 || weekday == 3 {
		h += 24
	}
	return h
}

// Append adds a snapshot to b, 384 bytes.
func (s *Season) Append(b []byte) []byte {
	for _, h := range s.Hour {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(h.Count))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(h.Expected))
	}
	return b
}

// Decode reads what Append wrote and returns the rest of b.
func (s *Season) Decode(b []byte) ([]byte, error) {
	if len(b) < 8*bins {
		return b, fmt.Errorf("rate: season: %d bytes of %d", len(b), 8*bins)
	}
	for i := range s.Hour {
		s.Hour[i].Count = math.Float32frombits(binary.LittleEndian.Uint32(b))
		s.Hour[i].Expected = math.Float32frombits(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
	}
	return b, nil
}
