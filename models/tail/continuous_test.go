package tail_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/models/tail"
)

func near(t *rapid.T, what string, logGot, want, relative float64) {
	if want < 1e-11 {
		return
	}
	if got := math.Exp(logGot); !(math.Abs(got-want) <= relative*want) {
		t.Fatalf("%s: %v, oracle %v", what, got, want)
	}
}

func TestContinuousTailsAgreeWithGonum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0.1, 200).Draw(t, "a"), rapid.Float64Range(0.1, 200).Draw(t, "b")
		x := rapid.Float64Range(0.001, 0.999).Draw(t, "x")
		near(t, "beta", tail.BetaLogSF(x, a, b), mathext.RegIncBeta(b, a, 1-x), 1e-6)

		nu, z := rapid.Float64Range(0.5, 300).Draw(t, "freedom"), rapid.Float64Range(-12, 12).Draw(t, "t")
		near(t, "student", tail.StudentLogSF(z, nu), distuv.StudentsT{Mu: 0, Sigma: 1, Nu: nu}.Survival(z), 1e-5)
		near(t, "normal", tail.NormalLogSF(z), 0.5*math.Erfc(z/math.Sqrt2), 1e-9)
	})
}

// The Beta-Binomial is a mixture of binomials: add them up over a fine grid of the Beta's quantiles.
func TestBetaBinomialIsTheMixture(t *testing.T) {
	for _, c := range []struct{ k, n, a, b float64 }{{3, 10, 2, 5}, {12, 40, 3, 30}, {1, 50, 0.5, 20}, {90, 100, 4, 4}, {400, 1000, 30, 70}, {5, 5, 1, 1}} {
		const grid = 20_000
		want := 0.0
		beta := distuv.Beta{Alpha: c.a, Beta: c.b}
		for i := range grid {
			p := beta.Quantile((float64(i) + 0.5) / grid)
			want += mathext.RegIncBeta(c.k, c.n-c.k+1, p) / grid
		}
		if got := math.Exp(tail.BetaBinomialLogSF(c.k, c.n, c.a, c.b)); math.Abs(got-want) > 0.02*want {
			t.Errorf("%+v: %v, mixture %v", c, got, want)
		}
	}
}

// With a Beta that is all but a point it is the binomial, whose tail far out is an incomplete beta function.
func TestBetaBinomialFarOut(t *testing.T) {
	for _, c := range []struct{ k, n, p float64 }{{200, 400, 0.05}, {60, 100, 0.001}, {900, 1000, 0.4}} {
		want := tail.BetaLogSF(1-c.p, c.n-c.k+1, c.k) // P(Bin ≥ k) = I_p(k, n−k+1)
		if got := tail.BetaBinomialLogSF(c.k, c.n, c.p*1e9, (1-c.p)*1e9); math.Abs(got-want) > 0.02 {
			t.Errorf("%+v: ln p %v, binomial %v", c, got, want)
		}
	}
	if got, want := tail.NormalLogSF(37), math.Log(0.5*math.Erfc(37/math.Sqrt2)); math.Abs(got-want) > 1e-6 {
		t.Errorf("normal at 37: %v, want %v", got, want)
	}
	if got, want := tail.NormalLogSF(9.9999999), tail.NormalLogSF(10.0000001); math.Abs(got-want) > 1e-4 {
		t.Errorf("normal jumps at 10: %v, %v", got, want)
	}
}

// Far out Student's tail is its leading term, Γ((ν+1)/2)·ν^(ν/2−1)/(√π·Γ(ν/2)) · t^−ν.
func TestStudentFarOut(t *testing.T) {
	for _, nu := range []float64{1, 4, 30} {
		for _, x := range []float64{1e3, 1e8, 1e60} {
			a, _ := math.Lgamma((nu + 1) / 2)
			b, _ := math.Lgamma(nu / 2)
			want := a - b - math.Log(math.Pi)/2 + (nu/2-1)*math.Log(nu) - nu*math.Log(x)
			if got := tail.StudentLogSF(x, nu); math.Abs(got-want) > 1e-3 {
				t.Errorf("freedom %v at %v: %v, want %v", nu, x, got, want)
			}
		}
	}
	if l := tail.StudentLogSF(1e300, 3); math.IsNaN(l) || l > -500 {
		t.Errorf("at 1e300: %v", l)
	}
}

func TestEveryTailFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := float64(rapid.IntRange(1, 5000).Draw(t, "n"))
		a, b := rapid.Float64Range(0.01, 1e5).Draw(t, "a"), rapid.Float64Range(0.01, 1e5).Draw(t, "b")
		nu, shape := rapid.Float64Range(0.5, 1e8).Draw(t, "freedom"), rapid.Float64Range(-1, 1).Draw(t, "shape")
		for name, f := range map[string]func(x float64) float64{
			"beta-binomial": func(x float64) float64 { return tail.BetaBinomialLogSF(x, n, a, b) },
			"student":       func(x float64) float64 { return tail.StudentLogSF(x-3, nu) },
			"normal":        tail.NormalLogSF,
			"pareto":        func(x float64) float64 { return tail.ParetoLogSF(x, shape, 2) },
		} {
			before := 0.0
			for x := 0.0; x <= n; x = math.Floor(1.3*x) + 1 {
				p := f(x)
				if math.IsNaN(p) || p > before+1e-7 {
					t.Fatalf("%s: ln P(X >= %v) = %v after %v", name, x, p, before)
				}
				before = p
			}
		}
	})
}

func BenchmarkBetaBinomialLogSF(b *testing.B) {
	for b.Loop() {
		tail.BetaBinomialLogSF(40, 100, 3, 30)
	}
}

func BenchmarkStudentLogSF(b *testing.B) {
	for b.Loop() {
		tail.StudentLogSF(12, 40)
	}
}
