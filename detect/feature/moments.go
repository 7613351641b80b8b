package feature

import "math"

// Moments is an estimate of the mean and variance of a window's count.
type Moments struct {
	N    float32 // effective windows learned from
	Mean float32 // per window
	Var  float32 // per window, about the mean
}

// priorWindows is how many windows of its own outweigh what an agent's cohort says of it.
const priorWindows = 6

// Mix is the prediction for one who has own, when others like it have prior: the two as a mixture, weighted by
// what is known of each. The squared distance of the means is part of the variance, so that whoever is unlike
// its cohort is at first uncertain rather than anomalous.
func Mix(own, prior Moments) Moments {
	w := own.N / (own.N + priorWindows)
	if prior.N <= 0 {
		w = 1
	}
	d := own.Mean - prior.Mean
	return Moments{
		N:    own.N + min(prior.N, priorWindows),
		Mean: w*own.Mean + (1-w)*prior.Mean,
		Var:  w*own.Var + (1-w)*prior.Var + w*(1-w)*d*d,
	}
}

// Predictive is the mean and variance of the next window, the uncertainty of the mean included.
func (m Moments) Predictive() (mean, variance float64) {
	mean = math.Max(float64(m.Mean), 0)
	n := math.Max(float64(m.N), 1)
	// One pseudo-count spread over what was seen: "never in n windows" is a rate of about 1/(2n), not 0.
	mean += 0.5 / (n + 1)
	variance = math.Max(float64(m.Var), mean)
	variance += variance / n
	return mean, variance
}

// leastLogVariance is how much the logarithm of a size varies at least.
const leastLogVariance = 0.25

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
	variance = math.Max(float64(m.Var), leastLogVariance)
	return float64(m.Mean) + math.Log(worth), variance + variance/math.Max(float64(m.N), 1)
}

// natural is the mean and variance of a size whose logarithm has these.
func natural(mean, variance float64) (m, v float64) {
	m = math.Expm1(mean)
	return m, math.Expm1(math.Min(variance, 4)) * (m + 1) * (m + 1)
}

// cell is one feature at one scale: the open window's count, and what is normal. The number of windows learned
// from is the scale's: all its cells close together.
type cell struct {
	cur  float32 // count in the open window
	mean float32
	vari float32
}

// learn adds one window (West 1979, with the effective sample size capped, which makes the forgetting
// exponential); a is the window's share of the effective sample.
func (c *cell) learn(x, a float32) {
	d := x - c.mean
	c.mean += a * d
	c.vari += a * (d*(x-c.mean) - c.vari)
}

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
		d := m - p.Mean[i]
		p.Mean[i] += a * d
		p.Var[i] += a*(v-p.Var[i]) + a*(1-a)*d*d
		p.Sum[i], p.Square[i] = 0, 0
	}
	p.Count[sc] = 0
}
