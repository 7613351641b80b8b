package rate

import "math"

const (
	hour = 3600
	day  = 24 * hour
	bins = 7 * 24
)

// Season is the rhythm of the week: a factor on the rate for each hour of it, in UTC.
//
// The factor of an hour of the week has that hour of all days as its prior, and an hour of the day has 1: two Gamma priors, one
// under the other, each worth concentration of what Learn adds. So the rhythm is flat until there is enough to say
// otherwise, then that of a day, and that of a week when weeks have shown it. Between the middles of two hours
// the factor is interpolated (Rhythm). The zero value is flat. 1344 bytes: keep one per cohort.
type Season struct {
	Hour [bins]Ratio // from Monday 00:00 on
}

// Ratio is what was seen of something, and what was to be expected of it.
type Ratio struct{ Count, Expected float32 }

// Learn forgets all but keep (0 to 1) of the past and adds a count where expected would have been seen at the flat rate.
func (r *Ratio) Learn(count, expected, keep float64) {
	r.Count = float32(float64(r.Count)*keep + count)
	r.Expected = float32(float64(r.Expected)*keep + expected)
}

// Factor is the mean of the posterior under a Gamma prior with that mean, worth concentration.
func (r Ratio) Factor(prior, concentration float64) float64 {
	return (concentration*prior + float64(r.Count)) / (concentration + float64(r.Expected))
}

// Learn adds a count to the hour that holds the time (seconds since the epoch), where a flat rate would have
// given expected. Each hour forgets only when it is visited: keep is Keep of the exposure spent in it. The unit is the
// caller's: of agents whose hours go up and down together, weigh each by 1/n, so that an hour counts as one.
func (s *Season) Learn(time, count, expected, keep float64) {
	s.Hour[HourOfWeek(time)].Learn(count, expected, keep)
}

// Rhythm is the factors as they stand, each under its priors. It takes two microseconds: keep it for an hour.
func (s *Season) Rhythm(concentration float64) (r Rhythm) {
	for h := range 24 {
		var daily Ratio
		for at := h; at < bins; at += 24 {
			daily.Count += s.Hour[at].Count
			daily.Expected += s.Hour[at].Expected
		}
		prior := daily.Factor(1, concentration)
		for at := h; at < bins; at += 24 {
			r[at] = float32(s.Hour[at].Factor(prior, concentration))
		}
	}
	return r
}

// Rhythm is the factors at the middles of the hours of a week, from Monday on.
type Rhythm [bins]float32

// At is the factor at a time (seconds since the epoch), interpolated between the middles of two hours. Multiply the exposure by
// it, both to learn and to predict: ten minutes at noon may be worth twenty flat ones.
func (r *Rhythm) At(time float64) float64 {
	// In whole seconds first: the remainder of a float is a division bit by bit.
	whole := math.Floor(time)
	at := int64(whole) % hour
	if at < 0 {
		at += hour
	}
	here := HourOfWeek(time)
	x, other := (float64(at)+(time-whole))/hour-0.5, here+1
	if x < 0 {
		x, other = -x, here-1
	}
	return float64(r[here])*(1-x) + float64(r[(other+bins)%bins])*x
}

// Weekday is the day of the week of a time (seconds since the epoch), 0 for Monday: the epoch was a Thursday.
func Weekday(time float64) int { return int((int64(math.Floor(time/day))%7 + 7 + 3) % 7) }

// HourOfWeek is the hour of the week that holds a time (seconds since the epoch), 0 for that from Monday 00:00 on.
func HourOfWeek(time float64) int {
	h := int((time - math.Floor(time/day)*day) / hour)
	return 24*Weekday(time) + min(h, 23) // rounding just below midnight
}
