package feature

import (
	"encoding/binary"
	"math"

	"github.com/astray-dev/astray/models/rate"
)

// What agents do in a window goes up and down with the week, and those of a cohort go together: noon is not midnight,
// Monday is not Sunday. The counts of activity are therefore learned and expected by exposure, in windows of an average
// hour: a window of a busy hour is worth more than one of a quiet hour (rate.Season). Baselines are of active windows, so
// this is what is left when nights and weekends off are not counted at all.

const (
	// seasonVisits is how many visits of an hour outweigh what other days, and other hours, say of it.
	seasonVisits = 2
	// seasonWindows is how many windows it takes at least to make up a visit: few agents tell little.
	seasonWindows = 30
	// seasonMemory is after how many visits of an hour an old one has lost its weight.
	seasonMemory = 8
	// mostSeason is how many average hours an hour is worth at most, and one over the least.
	mostSeason = 5
)

// seasons is the rhythm of a group: how busy an active window of ten minutes is in each hour of the week, and how busy an
// active hour and an active day are.
type seasons struct {
	Tens, Hours rate.Season
	Days        [7]rate.Ratio

	// What was learned since the hour began is used from the next on: within an hour nothing changes.
	hour    int64
	pending []visit
	of      [NumScales]rate.Rhythm // of Tens and Hours
}

// visit is what the windows of one place in the week have shown.
type visit struct {
	Scale, Place uint8
	Weight       float32
	rate.Ratio
}

// rhythmic says that a feature goes up and down with activity.
func (f Feature) rhythmic() bool {
	switch f {
	case Events, Posts, Reads, NewReads, Repeats, SentKB, ReceivedKB:
		return true
	}
	return false
}

// worth is how many windows of an average hour window w is worth.
func (s *seasons) worth(sc Scale, w int64) float64 {
	if s.hour == 0 {
		return 1
	}
	middle := (float64(w) + 0.5) * float64(scaleSeconds[sc])
	f := 1.0
	switch sc {
	case Minute, TenMinutes:
		f = s.of[TenMinutes].At(middle)
	case Hour:
		f = s.of[Hour].At(middle)
	case Day:
		f = s.Days[rate.Weekday(middle)].Factor(1, seasonVisits)
	}
	return math.Min(math.Max(f, 1.0/mostSeason), mostSeason)
}

// learn adds a window in which so much was seen where one of an average hour has mean; agents is how many of the group are there.
func (s *seasons) learn(sc Scale, w int64, seen, mean, agents float64) {
	middle := (float64(w) + 0.5) * float64(scaleSeconds[sc])
	v := visit{Scale: uint8(sc)}
	switch sc {
	case TenMinutes:
		v.Place, agents = uint8(rate.HourOfWeek(middle)), 6*agents
	case Hour:
		v.Place = uint8(rate.HourOfWeek(middle))
	case Day:
		v.Place = uint8(rate.Weekday(middle))
	default:
		return
	}
	weight := 1 / math.Max(agents, seasonWindows)
	// Whoever does much tells more than who does little, but nobody more than one window's worth.
	v.Weight, v.Count, v.Expected = float32(weight), float32(weight*seen/(mean+1)), float32(weight*mean/(mean+1))
	for i := range s.pending {
		if p := &s.pending[i]; p.Scale == v.Scale && p.Place == v.Place {
			p.Weight += v.Weight
			p.Count += v.Count
			p.Expected += v.Expected
			return
		}
	}
	s.pending = append(s.pending, v)
}

// turn begins an hour: what was learned in the one before is used from now on.
func (s *seasons) turn(hour int64) {
	if hour <= s.hour {
		return
	}
	for _, v := range s.pending {
		r := &s.Days[v.Place%7]
		switch Scale(v.Scale) {
		case TenMinutes:
			r = &s.Tens.Hour[v.Place]
		case Hour:
			r = &s.Hours.Hour[v.Place]
		}
		r.Learn(float64(v.Count), float64(v.Expected), math.Max(1-float64(v.Weight)/seasonMemory, 0))
	}
	s.pending = s.pending[:0]
	s.hour = hour
	s.tabulate()
}

func (s *seasons) tabulate() {
	s.of[TenMinutes], s.of[Hour] = s.Tens.Rhythm(seasonVisits), s.Hours.Rhythm(seasonVisits)
}

func (s *seasons) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, s.hour)
	dst = fixed(fixed(fixed(dst, &s.Tens), &s.Hours), &s.Days)
	dst = binary.AppendUvarint(dst, uint64(len(s.pending)))
	return fixed(dst, s.pending)
}

func (s *seasons) decode(d *decoder) {
	*s = seasons{hour: d.varint()}
	d.fixed(&s.Tens)
	d.fixed(&s.Hours)
	d.fixed(&s.Days)
	n := d.uvarint()
	if n > 2*168+7 {
		d.fail("number of visits")
		return
	}
	s.pending = make([]visit, n)
	d.fixed(s.pending)
	for _, v := range s.pending {
		if v.Place >= 168 {
			d.fail("place in the week")
			return
		}
	}
	s.tabulate()
}

// worth is how many windows of an average hour the agent's open window is worth for what a cell counts.
func (s *Store) worth(a *Agent, i int) float64 {
	if !plan[i].Feature.rhythmic() {
		return 1
	}
	sc := plan[i].Scale
	return a.Cohort.seasons.worth(sc, a.Window[sc])
}
