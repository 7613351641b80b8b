package feature

import (
	"math"

	"github.com/astray-dev/astray/models/novelty"
)

// takesUp is the prior of what the agents of a group take up, and unheard the probability of a value nobody has ever shown.
var takesUp = novelty.Prior{Concentration: 0.5, Discount: 0.5}

const unheard = 0.01

// acceptAgents is by how many agents of one cohort a value that came as a surprise must be taken up before it
// counts as the cohort's own.
const acceptAgents = 3

// Vocabulary is the values of one kind (destinations, services, actions) that a group of agents uses, and by
// how many of them each. A value whose first use came as a surprise waits in Pending until acceptAgents agents
// of the group have used it: what attackers bring in does not become normal by being repeated.
type Vocabulary struct {
	Agents  map[uint64]uint32
	Pending map[uint64]uint32
	Total   uint32
}

const maxVocabulary = 4096

// seen is what the group knows of a value: a draw is an agent that takes one up.
func (v *Vocabulary) seen(h uint64) novelty.Seen {
	return novelty.Seen{Value: float64(v.Agents[h]), Total: float64(v.Total), Distinct: float64(len(v.Agents))}
}

// add counts one more agent that uses the value.
func (v *Vocabulary) add(h uint64, surprising bool) (accepted bool) {
	if v.Agents == nil {
		v.Agents, v.Pending = map[uint64]uint32{}, map[uint64]uint32{}
	}
	n, known := v.Agents[h]
	if !known && surprising {
		p := v.Pending[h] + 1
		if p < acceptAgents {
			if p > 1 || len(v.Pending) < maxVocabulary {
				v.Pending[h] = p
			}
			return false
		}
		delete(v.Pending, h)
		n = p - 1
		v.Total += p - 1
	}
	if known || len(v.Agents) < maxVocabulary {
		v.Agents[h] = n + 1
		v.Total++
	}
	return true
}

// places is the networks and clients that the agents of the fleet use, by how many agents took each up.
type places [Key]Vocabulary

func (p *places) add(part OriginPart, h uint64) {
	if part < Key {
		p[part].add(h, false)
	}
}

// rarity is the natural logarithm of the probability that an agent that takes up a new network or client takes up one that
// nobody in the fleet has used, 0 for one that somebody has. Where every agent has its own it says nothing, where all
// share a few it says much.
func (p *places) rarity(part OriginPart, h uint64) float32 {
	if part >= Key || p[part].Agents[h] > 0 {
		return 0
	}
	return float32(math.Log(takesUp.New(p[part].seen(h))))
}
