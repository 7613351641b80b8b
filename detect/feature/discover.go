package feature

import (
	"math"
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/models/novelty"
	"github.com/astray-dev/astray/models/rate"
)

// NewRate is how many new values of a kind the agent takes up on a day, by its own past and its peers'.
func (s *Store) NewRate(a *Agent, f Feature) (perDay float64, ok bool) {
	i := cellOf[f][Day]
	prior := s.prior(a, int(i))
	if a.N[Day]+prior.N < minWindows {
		return 0, false
	}
	mean, _ := Mix(Moments{a.N[Day], a.Cells[i].Mean, a.Cells[i].Var}, prior).Predictive()
	return mean, true
}

// novel counts services, destinations and actions, and weighs those that are new to the agent.
func (s *Store) novel(v *View, a *Agent, ev *event.Event, in *[NumScales]bool, minute uint32, failed bool) {
	if ev.Service != "" && ev.Service != "unknown" {
		h := s.hash.service
		before := a.values.Touch(h*saltService, minute, maxValues)
		v.distinct(in, Services, before)
		if before == 0 {
			v.ServiceSurprise, v.ServiceShare = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.services })
			if s.adopt(ev, h*saltService, v.ServiceSurprise, minute) {
				v.ServiceSurprise, v.ServiceShare = min(v.ServiceSurprise, adopted), max(v.ServiceShare, adoptedShare)
			}
			v.add(in, NewServices, float32(1-v.ServiceShare))
		}
		for sc := range Day {
			if f := &a.Favourite[sc]; in[sc] && !failed {
				switch k := uint32(h >> 32); {
				case f.Key == k:
					f.N++
				case f.N == 0:
					f.Key, f.N = k, 1
				default:
					f.N--
				}
				if i := cellOf[Repeats][sc]; i >= 0 && float32(f.N) > a.Cells[i].Cur {
					a.Cells[i].Cur = float32(f.N)
					v.bumped |= 1 << i
					a.Live |= 1 << i
				}
			}
		}
	}
	h := s.hash.action
	kind, day := uint32(h>>32)|1, ev.Time/micros/86400
	if a.values.Touch(h*saltAction, minute, maxValues) == 0 {
		var share float64
		v.ActionSurprise, share = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.actions })
		v.add(in, NewActions, float32(1-share))
		if ev.Access >= event.Write && v.firstDay() {
			a.Changes += float32(1 - share)
		}
		if a.Mix.Days >= minMixDays {
			a.TakeUp.begin(kind, day, share)
		}
	}
	v.TakenUp = a.takenUp(kind, day)
	if ev.Destination != "" {
		h := s.hash.destination
		before := a.values.Touch(h*saltDestination, minute, maxValues)
		v.distinct(in, Destinations, before)
		if before == 0 {
			v.DestinationSurprise, v.DestinationShare = s.take(a, h, func(c *Cohort) *Vocabulary { return &c.destinations })
			if s.adopt(ev, h*saltDestination, v.DestinationSurprise, minute) {
				v.DestinationSurprise, v.DestinationShare, v.Adopted = min(v.DestinationSurprise, adopted), max(v.DestinationShare, adoptedShare), true
			}
			v.add(in, NewDests, float32(1-v.DestinationShare))
		}
		v.Way, v.Route = a.follow(h, ev.Time/micros, float32(v.DestinationSurprise), before == 0)
	}
}

// firstDay says that the agent is not known by a day yet.
func (v *View) firstDay() bool { return v.Event.Time-v.Agent.First < firstDay*micros }

// Changes is in how many ways an agent of less than a day changes things, with what its peers do left out as far as they
// do it; 0 at an event that changes nothing.
func (v *View) Changes() float64 {
	if v.Event.Access < event.Write || !v.firstDay() {
		return 0
	}
	return float64(v.Agent.Changes)
}

// take weighs a value that the agent takes up, and counts the agent among its users: surprise is −log10 of the
// probability that its peers give it, share the part of them that uses it.
func (s *Store) take(a *Agent, h uint64, of func(*Cohort) *Vocabulary) (surprise, share float64) {
	var chain [4]*Cohort
	n := 0
	for c := a.Cohort; c != nil && n < len(chain)-1; c = c.parent {
		chain[n] = c
		n++
	}
	if chain[n-1] != s.fleet {
		chain[n-1] = s.fleet
	}
	p := float64(unheard)
	for i := n - 1; i >= 0; i-- {
		c := chain[i]
		p = takesUp.Next(of(c).seen(h), p)
		if c.Agents > 1 {
			share = math.Max(share, novelty.Shared(float64(of(c).Agents[h]), float64(c.Agents)))
		}
	}
	surprise = -math.Log10(math.Min(p, 1))
	learn := true
	for _, c := range chain[:n] {
		if learn {
			// What the wider group learns is what the narrower has accepted.
			learn = of(c).add(h, surprise >= surprising && of(c).Total >= 10 && !s.trusting)
		}
		c.dirty = true
	}
	return surprise, math.Min(share, 1)
}

// adopt remembers a surprising value with the agent's owner, and reports whether another agent of that owner has it
// already: what an organisation gives to its agents comes to one after the other.
func (s *Store) adopt(ev *event.Event, h uint64, surprise float64, minute uint32) bool {
	if ev.OwnerID == "" || surprise <= adopted {
		return false
	}
	return s.adopted.Touch(h^xxhash.Sum64String(ev.OwnerID)*saltKey, minute, maxAdopted) != 0
}

// turn is after how many seconds at most an event from elsewhere is one in turn: nobody moves so fast, and who moves does so once.
const turn = 600

// origin compares where the event comes from with where the agent came from before.
func (s *Store) origin(v *View, a *Agent, ev *event.Event, in *[NumScales]bool, minute uint32) {
	var h [NumOrigins]uint64
	h[Network] = networkOf(ev)
	if ev.UserAgent != "" {
		h[Client] = xxhash.Sum64String(ev.UserAgent) * saltClient
	}
	if ev.CredentialID != "" {
		h[Key] = s.hash.credential * saltKey
	}
	c := a.Cohort
	o := &a.Origin
	for p := range NumOrigins {
		if h[p] == 0 {
			continue
		}
		before := a.values.Touch(h[p], minute, maxValues)
		if before == 0 && (p == Network && o.Network == 0 || p == Client && o.Client == 0 || p == Key && a.Total == 1) {
			before = minute // the first of all is not new
			s.places.add(p, h[p])
		}
		if before == 0 {
			o.New[p] = min(o.New[p]+1, math.MaxUint16-1)
			o.At[p] = int32(minute)
			v.OriginFresh = true
			o.Rare[p] = s.places.rarity(p, h[p])
			s.places.add(p, h[p])
			c.origins.New[p]++
			s.fleet.origins.New[p]++
			c.dirty, s.fleet.dirty = true, true
		} else if p == Network && o.At[Network] > 0 && int32(minute)-o.At[Network] <= away && uint32(h[p]>>32) != o.Network && int32(before) < o.At[Network] {
			v.Returned = true
		}
		last := [NumOrigins]*uint32{&o.Network, &o.Client, &o.Key}[p]
		is := uint32(h[p]>>32) | 1
		if *last != 0 && *last != is && v.pause >= 0 && v.pause <= turn {
			// In turn with the one before: two are at work, or one that has two.
			switch p {
			case Network:
				v.add(in, NetworkTurns, 1)
			case Key:
				v.add(in, KeyTurns, 1)
			}
		}
		*last = is
	}
	for p := range NumOrigins {
		if o.At[p] == 0 || int32(minute)-o.At[p] > away {
			continue
		}
		v.OriginNew[p] = true
		// New per active day: the agent's own rate, with its cohort's, with the fleet's as prior.
		f := &s.fleet.origins
		perDay := rate.Mean(float64(f.New[p]), float64(f.Days[p]), 0.05, 20)
		perDay = rate.Mean(float64(c.origins.New[p]), float64(c.origins.Days[p]), perDay, 5)
		perDay = rate.Mean(float64(o.New[p]-1), float64(a.Days), perDay, 5)
		v.OriginLogP += math.Log(math.Min(perDay, 1)) + float64(o.Rare[p])
	}
}

func networkOf(ev *event.Event) uint64 {
	if ev.ASN != 0 {
		return (uint64(ev.ASN) + 1) * saltNetwork
	}
	if ev.SourceIP == "" {
		return 0
	}
	if ip, err := netip.ParseAddr(ev.SourceIP); err == nil {
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		if p, err := ip.Prefix(bits); err == nil {
			b := p.Addr().As16()
			return xxhash.Sum64(b[:]) * saltNetwork
		}
	}
	return xxhash.Sum64String(ev.SourceIP) * saltNetwork
}
