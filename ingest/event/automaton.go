package event

// automaton finds which of a set of lower-case keywords stand in a text, in one pass and whatever the case of
// ASCII letters (A. Aho, M. Corasick, Efficient String Matching, CACM 1975), with every failure link resolved
// into a transition. Bytes that no keyword uses share one class, which keeps the table small: about 140 kB for
// the 260 keywords of the rules.
type automaton struct {
	class   [256]uint8
	classes int
	next    []uint16  // state*classes + class -> state
	ends    [][]int32 // keywords that end in a state

	keywords []string
}

func newAutomaton(keywords []string) *automaton {
	a := &automaton{classes: 1, keywords: keywords}
	for _, k := range keywords {
		for i := range len(k) {
			if a.class[k[i]] == 0 {
				a.class[k[i]] = uint8(a.classes)
				a.classes++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	state := func() uint16 {
		a.next = append(a.next, make([]uint16, a.classes)...)
		a.ends = append(a.ends, nil)
		return uint16(len(a.ends) - 1)
	}
	state()
	for n, k := range keywords {
		s := uint16(0)
		for i := range len(k) {
			at := int(s)*a.classes + int(a.class[k[i]])
			if a.next[at] == 0 {
				t := state()
				a.next[at] = t
			}
			s = a.next[at]
		}
		a.ends[s] = append(a.ends[s], int32(n))
	}
	// Breadth first, so that a state's failure state is complete before it is used.
	fail := make([]uint16, len(a.ends))
	var queue []uint16
	for c := range a.classes {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		a.ends[s] = append(a.ends[s], a.ends[fail[s]]...)
		for c := range a.classes {
			at, other := int(s)*a.classes+c, a.next[int(fail[s])*a.classes+c]
			if t := a.next[at]; t != 0 {
				fail[t] = other
				queue = append(queue, t)
			} else {
				a.next[at] = other
			}
		}
	}
	return a
}

// find calls hit with every keyword in text[from:to] and the index after it.
func (a *automaton) find(text string, from, to int, hit func(keyword int32, end int)) {
	s := 0
	for i := from; i < to; i++ {
		s = int(a.next[s*a.classes+int(a.class[text[i]])])
		for _, k := range a.ends[s] {
			hit(k, i+1)
		}
	}
}
