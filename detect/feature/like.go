package feature

import (
	"encoding/hex"
	"math"
	"slices"

	"github.com/astray-dev/astray/models/tail"
)

// Two texts are nearly the same when they share at least half of the phrases of their sketches (text.go), which is when
// about half of their shingles are the same. Every phrase remembers by which posts agents took it up, so the texts that
// are nearly the same as one are found among those of its phrases. That a text is used by whoever used it before says
// nothing, whatever the number: a form that agents fill in every day has no new users. Nor do copies of it: a notice is
// passed on word by word. Counted are the wordings that agents new to the text have given it, unless they had read it.

// Likeness is what is known of the texts that are nearly the same as the event's.
type Likeness struct {
	Wordings [len(likenessMinutes)]int     // other wordings, by how far back
	Past     [len(likenessMinutes)]int     // agents that had taken up the phrase before that
	Usual    [len(likenessMinutes)]float64 // … and how many of them are to be expected in as long a time
	Entity   *Entity                       // the phrase that says most of them
}

// likenessMinutes is how far back Likeness looks.
var likenessMinutes = [...]uint32{60, 1440}

// likenessScales are the same as scales.
var likenessScales = [...]Scale{Hour, Day}

const (
	// fewWordings come about by themselves: ten agents that give the same advice within hours, in words of their own here and
	// there, reach four.
	fewWordings = 5

	popularity = 4 // chosen on worlds of seeds 1–3, 21 and 22, where 3 finds one fewer of 30 campaigns and neither has a false alert
	minPhrases = 4 // of a text, to tell that half of them are shared
	// likenessMemory is after how many texts an old one has lost its weight in what is usual.
	likenessMemory = 10_000
)

func templateName(key uint64) string {
	return "tpl_" + hex.EncodeToString([]byte{byte(key >> 56), byte(key >> 48), byte(key >> 40), byte(key >> 32), byte(key >> 24), byte(key >> 16)})
}

// candidate is a post that shares phrases with a text.
type candidate struct {
	post
	shared int
}

// seats finds candidates by their ids: a hash table twice as large as there can be candidates, emptied by a new turn.
type seats struct {
	turn uint16
	all  [2 * sketchBins * 32]seating // a power of two
}

// seating is where a candidate is, counted from one.
type seating struct{ turn, at uint16 }

func (s *seats) clear() {
	if s.turn++; s.turn == 0 {
		s.turn, s.all = 1, [len(s.all)]seating{}
	}
}

// of returns the place of the candidate with that id, a free one when there is none.
func (s *seats) of(id uint32, near []candidate) *seating {
	for i := id * 0x9E3779B1 >> 23; ; i++ {
		x := &s.all[i%uint32(len(s.all))]
		if x.turn != s.turn {
			*x = seating{}
			return x
		}
		if near[x.at-1].id == id {
			return x
		}
	}
}

// phrases counts the phrases of a text, finds the texts that are nearly the same and tells whether the agent had read
// one of them.
func (s *Store) phrases(v *View, a *Agent, keys []uint64, wording, id, object, reply uint32, sec int64) {
	if len(keys) < minPhrases {
		return
	}
	if object != 0 {
		id = object
	}
	half, some := (len(keys)+1)/2, (3*len(keys)+7)/8
	minute := uint32(max(sec/60, 1))
	author := uint32(a.Key>>32) | 1
	var entities [sketchBins]*Entity
	var joins [sketchBins]bool
	joined := 0
	near := s.near[:0]
	s.seats.clear()
	for i, key := range keys {
		e, fresh, _ := s.shared.touch(Phrase, key, a, sec, func() string { return templateName(key) })
		entities[i], joins[i] = e, fresh
		if fresh {
			joined++
		}
		if e == nil {
			if fresh {
				k := Phrase.key(key)
				w := s.shared.waiting.get(k)
				w.posts, w.wording = [maxFirst]uint32{id}, wording
				s.shared.waiting.set(k, w)
			}
			continue
		}
		for _, p := range e.posts {
			if p.agent == author {
				continue
			}
			seat := s.seats.of(p.id, near)
			switch {
			case seat.at > 0:
				c := &near[seat.at-1]
				c.shared++
				c.depth = max(c.depth, p.depth)
			case i <= len(keys)-some:
				near = append(near, candidate{p, 1})
				*seat = seating{s.seats.turn, uint16(len(near))}
			}
		}
	}
	s.near = near
	depth := uint8(0)
	for _, c := range near {
		if c.shared >= some && (c.id == reply || a.hasRead(c.id)) {
			depth = max(depth, c.depth+1)
		}
	}
	near = slices.DeleteFunc(near, func(c candidate) bool { return c.shared < half && depth == 0 || c.shared < some })
	most := 0
	for _, e := range entities {
		if e == nil || len(near) == 0 {
			continue
		}
		n := 0
		for _, p := range e.posts {
			if slices.ContainsFunc(near, func(c candidate) bool { return c.id == p.id }) {
				n++
			}
		}
		if n > most || n == most && n > 0 && e.Members() < v.Like.Entity.Members() {
			most, v.Like.Entity = n, e
		}
	}
	if joined >= half && reply == 0 {
		s.alike(v, near, wording, minute, depth)
	}
	for i, e := range entities {
		if e == nil || !joins[i] && depth == 0 {
			continue
		}
		if depth >= 2 {
			s.shared.bump(e, CrowdChain, sec, 1)
		}
		e.Depth = max(e.Depth, depth)
		if len(e.posts) >= maxPosts {
			e.posts = e.posts[:copy(e.posts, e.posts[1:])]
		}
		e.posts = append(e.posts, post{id: id, agent: author, wording: wording, minute: minute, depth: depth})
	}
}

// alike counts the wordings of the texts that are nearly the same.
func (s *Store) alike(v *View, near []candidate, wording, minute uint32, depth uint8) {
	for k, back := range likenessMinutes {
		n := 0
		for i, c := range near {
			if c.depth == 0 && c.wording != wording && c.minute+back >= minute && !slices.ContainsFunc(near[:i], func(b candidate) bool {
				return b.depth == 0 && b.minute+back >= minute && (b.wording == c.wording || b.agent == c.agent)
			}) {
				n++
			}
		}
		if depth == 0 {
			v.Like.Wordings[k] = n
		}
		if e := v.Like.Entity; e != nil {
			late := 0
			for _, p := range e.posts {
				if p.minute+back >= minute {
					late++
				}
			}
			span := float64(minute) - float64(e.First)/60 - float64(back)
			v.Like.Past[k] = max(e.Members()-1-late, 0)
			v.Like.Usual[k] = float64(v.Like.Past[k]) * float64(back) / math.Max(span, float64(back)/8)
		}
		// However many the texts are that are alike, they are one of their kind; and many at once teach as much as a few.
		m := &s.shared.likeness[k]
		x := min(float32(n), m.Mean+capSigmas*float32(sqrt(float64(m.Var)))+1)
		weight := 1 / float32((1+n)*(1+n))
		m.N = min(m.N+weight, likenessMemory)
		d := x - m.Mean
		m.Mean += weight * d / m.N
		m.Var += weight * (d*(x-m.Mean) - m.Var) / m.N
	}
}

// Wordings returns how many other wordings of the event's text agents came up with of late, for each of Likeness' ways to
// look back, with the probability, as a natural logarithm, of as many. How many a text without a past attracts is Pareto
// with index popularity beyond the first; one that has a past goes on as it did (Gamma–Poisson with what came before).
// ok is false in the first day of a stream, when everything is new.
func (v *View) Wordings(k int) (r Reading, logP float64, ok bool) {
	m := v.Shared.likeness[k]
	n, usual := float64(v.Like.Wordings[k]), v.Like.Usual[k]
	if n < fewWordings || n <= usual || m.N < minWindows || v.SinceStart < settling || v.Like.Entity == nil {
		return r, 0, false
	}
	r = Reading{Name: "wordings_of_one_text", Scale: likenessScales[k], Observed: n, Peers: m}
	r.Mean, r.Variance = m.Predictive()
	r.Mean += usual
	r.Variance += usual + usual*usual/float64(max(v.Like.Past[k], 1))
	logP = math.Log(min(1, r.Mean)) - popularity*math.Log(n/(1+usual))
	return r, max(logP, tail.CountLogSF(n, r.Mean, r.Variance)), true
}
