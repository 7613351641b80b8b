package scenario

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// text is a value with places to fill in: {1..500} and the like.
type text []piece

type piece struct {
	kind    byte
	literal string
	lo, hi  int64
	choice  []string
}

// Kinds of pieces.
const (
	literal   = iota
	number    // {lo..hi}
	small     // {~lo..hi}: small numbers far more often
	count     // {n}, {n+lo}
	occasion  // {k}, {k+lo}
	position  // {i}, {i+lo}
	dayNumber // {day}
	agentID   // {agent}
	hex       // {hex}, {hex:lo}
	words     // {words}, {words:lo}
	sentence  // {sentence}
	choice    // {a|b|c}
)

// slots is what the places are filled with.
type slots struct {
	rng              *rand.Rand
	agent            string
	n, k, i, of, day int64
}

func parseText(s string) (text, error) {
	var t text
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			return append(t, piece{literal: s}), nil
		}
		if open > 0 {
			t = append(t, piece{literal: s[:open]})
		}
		if strings.HasPrefix(s[open:], "{{") {
			t = append(t, piece{literal: "{"})
			s = s[open+2:]
			continue
		}
		end := strings.IndexByte(s[open:], '}')
		if end < 0 {
			return nil, fmt.Errorf("%q has no end; write {{ for a brace", s[open:min(len(s), open+30)])
		}
		p, err := parsePiece(s[open+1 : open+end])
		if err != nil {
			return nil, err
		}
		t = append(t, p)
		s = s[open+end+1:]
	}
	return t, nil
}

func parsePiece(s string) (piece, error) {
	switch s {
	case "agent":
		return piece{kind: agentID}, nil
	case "day":
		return piece{kind: dayNumber}, nil
	case "hex":
		return piece{kind: hex, lo: 12}, nil
	case "words":
		return piece{kind: words, lo: 6}, nil
	case "sentence":
		return piece{kind: sentence}, nil
	}
	if name, arg, ok := strings.Cut(s, ":"); ok && (name == "hex" || name == "words") {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 1 || n > 4096 {
			return piece{}, fmt.Errorf("{%s}: how many is a number from 1 to 4096", s)
		}
		if name == "hex" {
			return piece{kind: hex, lo: n}, nil
		}
		return piece{kind: words, lo: n}, nil
	}
	if lo, hi, ok := strings.Cut(s, ".."); ok {
		p := piece{kind: number}
		if rest, ok := strings.CutPrefix(lo, "~"); ok {
			p.kind, lo = small, rest
		}
		var err1, err2 error
		p.lo, err1 = strconv.ParseInt(lo, 10, 64)
		p.hi, err2 = strconv.ParseInt(hi, 10, 64)
		if err1 != nil || err2 != nil || p.hi < p.lo || p.hi-p.lo < 0 || p.hi-p.lo == math.MaxInt64 {
			return piece{}, fmt.Errorf("{%s}: is not like {1..500}", s)
		}
		return p, nil
	}
	for kind, letter := range map[byte]string{count: "n", occasion: "k", position: "i"} {
		rest, ok := strings.CutPrefix(s, letter)
		if !ok {
			continue
		}
		if rest == "" {
			return piece{kind: kind}, nil
		}
		if rest[0] == '+' || rest[0] == '-' {
			n, err := strconv.ParseInt(rest, 10, 64)
			if err == nil {
				return piece{kind: kind, lo: n}, nil
			}
		}
	}
	if strings.Contains(s, "|") {
		return piece{kind: choice, choice: strings.Split(s, "|")}, nil
	}
	return piece{}, fmt.Errorf("{%s} is none of {1..500}, {~1..500}, {n}, {n+100}, {k}, {i}, {i-1}, {day}, {agent}, {hex}, {hex:40}, {words:12}, {sentence}, {a|b}", s)
}

func (t text) fill(b *strings.Builder, s *slots) string {
	if len(t) == 1 && t[0].kind == literal {
		return t[0].literal
	}
	b.Reset()
	for _, p := range t {
		switch p.kind {
		case literal:
			b.WriteString(p.literal)
		case number:
			fmt.Fprint(b, p.lo+s.rng.Int64N(p.hi-p.lo+1))
		case small:
			u := s.rng.Float64()
			fmt.Fprint(b, p.lo+int64(u*u*u*float64(p.hi-p.lo+1)))
		case count:
			fmt.Fprint(b, s.n+p.lo)
		case occasion:
			fmt.Fprint(b, s.k+p.lo)
		case position:
			// The one before the first is the last.
			fmt.Fprint(b, ((s.i-1+p.lo)%s.of+s.of)%s.of+1)
		case dayNumber:
			fmt.Fprint(b, s.day)
		case agentID:
			b.WriteString(s.agent)
		case hex:
			for range p.lo {
				b.WriteByte("0123456789abcdef"[s.rng.IntN(16)])
			}
		case words:
			for j := range p.lo {
				if j > 0 {
					b.WriteByte(' ')
				}
				word(b, s.rng)
			}
		case sentence:
			for j := range 7 + s.rng.IntN(9) {
				if j > 0 {
					b.WriteByte(' ')
				}
				word(b, s.rng)
			}
			b.WriteByte('.')
		case choice:
			b.WriteString(p.choice[s.rng.IntN(len(p.choice))])
		}
	}
	return b.String()
}

var syllables = strings.Fields("ka lo mi ren ta vor zu ble cor din el fa gri hu jo nim os pe qui sal tor ul ve wix yar an be cho du est fi gol")

// word writes one of many thousand words, short ones more often.
func word(b *strings.Builder, r *rand.Rand) {
	for range 1 + r.IntN(3) {
		b.WriteString(syllables[r.IntN(len(syllables))])
	}
}
