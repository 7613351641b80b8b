package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/models/tail"
)

// span is a duration as a person writes it.
func span(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 172800:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

// quoted shows a text from outside: short, on one line, with control and direction characters as escapes.
func quoted(s string) string {
	const most = 80
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// confidence is how far below the threshold the p-value lies, on a scale on which the threshold itself is 0.5
// and a millionth of it 0.95.
func confidence(p, threshold float64) float64 {
	d := math.Log10(threshold / math.Max(p, 1e-300))
	return math.Round((1-0.5/(1+1.5*math.Max(d, 0)))*1000) / 1000
}

// evidence is the strongest window of each feature, the naming detector's first, strongest first.
func evidence(mine, all []Finding) []alert.Evidence {
	best := strongest(mine)
	for _, f := range strongest(all) {
		if !slices.ContainsFunc(best, func(b Finding) bool { return b.Name == f.Name }) && len(best) < maxEvidence {
			best = append(best, f)
		}
	}
	out := make([]alert.Evidence, 0, len(best))
	for _, f := range best {
		x := alert.Evidence{Feature: f.Name, Observed: round(f.Observed), Expected: round(f.Mean),
			PValue: math.Exp(math.Max(f.LogP, -690)), WindowSeconds: f.Scale.Seconds()}
		if f.Variance > 0 {
			x.Lower, x.Upper = tail.CountBand(0.95, f.Mean, f.Variance)
		}
		out = append(out, x)
	}
	return out
}

const maxEvidence = 8

func strongest(fs []Finding) []Finding {
	var best []Finding
	for _, f := range fs {
		i := slices.IndexFunc(best, func(b Finding) bool { return b.Name == f.Name })
		switch {
		case i < 0:
			best = append(best, f)
		case f.logP < best[i].logP:
			best[i] = f
		}
	}
	slices.SortStableFunc(best, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.logP, b.logP), cmp.Compare(a.LogP, b.LogP), cmp.Compare(a.Name, b.Name))
	})
	return best
}

func round(x float64) float64 { return math.Round(x*100) / 100 }

// reason says in at most three sentences what happened, what would have been normal, and what to do.
func reason(fs []Finding, info Info, v *feature.View, e *feature.Entity) string {
	best := strongest(fs)
	f := best[0]
	var b strings.Builder
	b.WriteString(capital(phrase(f)))
	switch {
	case f.Variance == 0 && f.Usual != "":
		fmt.Fprintf(&b, "; %s", f.Usual)
	case f.Variance == 0:
		fmt.Fprintf(&b, "; its own past and its peers' make that a chance of %s", odds(f.LogP))
	case e != nil:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; %s (95 %%: %s–%s)", Number(f.Mean), Number(lo), Number(hi))
		b.WriteString(" would have been normal")
		if n := e.Members(); n > 1 && e.Kind != feature.Target {
			fmt.Fprintf(&b, ", %s agents are known to take part", Number(float64(n)))
		}
	case f.Whose != "":
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; %s (95 %%: %s–%s) are usual for %s, and most are this agent's", Number(f.Mean), Number(lo), Number(hi), f.Whose)
	case f.Own.N >= 6:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; this agent's own past says %s (95 %%: %s–%s)", Number(f.Mean), Number(lo), Number(hi))
		if f.Peers.N >= 20 {
			fmt.Fprintf(&b, ", its cohort %s", Number(float64(f.Peers.Mean)))
		}
	default:
		lo, hi := tail.CountBand(0.95, f.Mean, f.Variance)
		fmt.Fprintf(&b, "; agents of its kind show %s (95 %%: %s–%s), and it has hardly a past of its own", Number(f.Mean), Number(lo), Number(hi))
	}
	b.WriteString(". ")
	if len(best) > 1 {
		g := best[1]
		fmt.Fprintf(&b, "Also %s", phrase(g))
		if g.Variance > 0 {
			fmt.Fprintf(&b, " where %s were expected", Number(g.Mean))
		}
		b.WriteString(". ")
	}
	b.WriteString(info.Next)
	return b.String()
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// odds is a probability, given as a natural logarithm, as a person says it.
func odds(logP float64) string {
	switch x := math.Exp(-logP); {
	case x < 1e6:
		return "1 in " + Number(math.Pow(10, math.Floor(math.Log10(x)))*math.Round(x/math.Pow(10, math.Floor(math.Log10(x)))))
	case x < 1e9:
		return "1 in " + Number(math.Round(x/1e6)) + " million"
	case x < 1e12:
		return "1 in " + Number(math.Round(x/1e9)) + " billion"
	}
	return "less than 1 in a trillion" // no past is long enough to tell such chances apart
}

// requests are the features whose names say what became of a request.
var requests = map[string]string{"denied": "denied requests", "missing": "requests for what is not there"}

func phrase(f Finding) string {
	if f.Text != "" {
		return f.Text
	}
	observed := f.Observed
	if observed >= 1 {
		observed = math.Round(observed) // what is counted comes whole, though a window lets go of it by and by
	}
	what, ok := requests[f.Name]
	if !ok {
		what = strings.ReplaceAll(f.Name, "_", " ")
	}
	return fmt.Sprintf("%s %s in %s", Number(observed), what, window(f.Scale))
}

func window(s feature.Scale) string {
	return [...]string{"a minute", "10 minutes", "an hour", "a day"}[s]
}

// Number is a number as a person writes it: grouped thousands, two digits that matter below ten.
func Number(x float64) string {
	if x < 10 && x != math.Trunc(x) {
		return fmt.Sprintf("%.2g", x)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
