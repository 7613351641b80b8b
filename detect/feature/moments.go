package feature

import (
	"math"

	"github.com/astray-dev/astray/models/magnitude"
	"github.com/astray-dev/astray/models/rate"
)

// Moments is an estimate of the mean and variance of a window's count.
type Moments rate.Moments

// priorWindows is how many windows of its own outweigh what an agent's cohort says of it.
const priorWindows = 6

// Mix is the prediction for one who has own, when others like it have prior.
func Mix(own, prior Moments) Moments {
	return Moments(rate.Moments(own).Under(rate.Moments(prior), priorWindows))
}

// Predictive is the mean and variance of the next window, the uncertainty of the mean included.
func (m Moments) Predictive() (mean, variance float64) { return rate.Moments(m).Predict() }

// predict is the mean and variance of a cell's next window, of its logarithm for sizes. The window is worth so many of an
// average hour.
func predict(i int, own, prior Moments, worth float64) (mean, variance float64) {
	m := Mix(own, prior)
	if !plan[i].Feature.size() {
		mean, variance = m.Predictive()
		if worth == 1 {
			return mean, variance
		}
		// What is Poisson of the variance grows with the exposure, what the rate scatters with its square.
		return worth * mean, worth*mean + worth*worth*(variance-mean)
	}
	mean, variance = magnitude.Predict(float64(m.N), float64(m.Mean), float64(m.Var))
	return mean + math.Log(worth), variance
}

// natural is the mean and variance of a size whose logarithm has these.
func natural(mean, variance float64) (m, v float64) { return magnitude.Natural(mean, variance) }

// cell is one feature at one scale: the open window's count, and what is normal. The number of windows learned
// from is the scale's: all its cells close together.
type cell struct {
	cur  float32 // count in the open window
	mean float32
	vari float32
}

// learn adds one window; a is its share of the effective sample.
func (c *cell) learn(x, a float32) { rate.Learn(&c.mean, &c.vari, x, a) }

// pool is what the agents of a cohort show, per cell. New windows are summed up and folded in by the dozen:
// most counts of a window are zero, and zeros need no work that way.
type pool struct {
	N    [NumScales]float32
	Mean [numCells]float32
	Var  [numCells]float32

	Count  [NumScales]float32
	Sum    [numCells]float32
	Square [numCells]float32
}

func (p *pool) moments(i int) Moments {
	return Moments{p.N[plan[i].Scale], p.Mean[i], p.Var[i]}
}

// close tells the pool that one window of weight w is complete; its counts were added before.
func (p *pool) close(sc Scale, w float32) {
	p.Count[sc] += w
	if p.Count[sc] >= min(16, 1+p.N[sc]/8) {
		p.fold(sc)
	}
}

func (p *pool) fold(sc Scale) {
	limit := 20 * memory[sc]
	c := p.Count[sc]
	n := min(p.N[sc], limit-c)
	a := c / (n + c)
	p.N[sc] = n + c
	for i := span[sc][0]; i < span[sc][1]; i++ {
		if p.Sum[i] == 0 && p.Mean[i] == 0 {
			continue
		}
		m := p.Sum[i] / c
		v := max(p.Square[i]/c-m*m, 0)
		rate.Merge(&p.Mean[i], &p.Var[i], m, v, a)
		p.Sum[i], p.Square[i] = 0, 0
	}
	p.Count[sc] = 0
}
