// Package similarity finds what a text has in common with others: the templates it was cut from, and texts that are nearly
// the same.
//
// A text is read as lower-case words whose variable parts are masked: numbers, words that mix letters with digits or are very
// long (ids, addresses, hashes), links, mentions, and quoted values. It is split into segments, lines and sentences; the hash of
// a masked segment is a key, and texts that share one were cut from one template. A flat JSON object is the set of its keys, in
// whatever order, and so is what a link leads to; both have places of their own: they often stand at the end.
//
// Beside the segments the whole text gets a sketch: one-permutation MinHash over shingles of three masked words (Broder 1997; Li,
// Owen & Zhang 2012). Each minimum is a phrase of its own: two texts share one with the probability that is the Jaccard
// similarity J of their shingles, so that of eight phrases 8·J are shared in the mean, with a variance of at most 8·J·(1−J), and half
// of them by those that are nearly the same, whatever words an author adds, leaves out or exchanges. One phrase alone says nothing.
//
// Null: unrelated texts share no segment and no shingle. Prior: none; texts of few words can be alike by chance, so that segments
// of under MinSegment bytes or four words have no key and texts of under fourteen words no sketch.
// Units: none. Cost: 13 KB of scratch, 2 µs for a text of 200 bytes, no allocation. The keys are the caller's hash of what
// is masked and mean the same for as long as that hash does.
package similarity

import (
	"math/bits"
	"strings"
)

const (
	// MaxBytes is how much of a text is read: nothing an author adds beyond it changes the signature.
	MaxBytes = 4096
	// MinSegment is how many bytes of masked text say something.
	MinSegment = 24
	// MaxTemplates is how many keys a text has at most, MaxPhrases how many phrases.
	MaxTemplates = maxSegments + maxObjects + maxLinks
	MaxPhrases   = 8

	minWords    = 4 // words below which a segment says too little, unless it is structured
	maxSegments = 4
	maxObjects  = 2
	maxLinks    = 2
	maxAddress  = 512 // bytes of a link
	minShingles = 12  // of a text that is sketched: shorter ones are alike by chance
)

// Signature is the keys under which a text's templates are found.
type Signature struct {
	Keys    [MaxTemplates]uint64
	N       int
	Objects uint16 // bit set of the keys that are of structured objects
	Links   uint16 // … and of those that are of links

	Phrases    [MaxPhrases]uint64
	NumPhrases int
	Wording    uint32 // hash of all masked words
}

// Masker reads texts. It is scratch space, to be used by one goroutine.
type Masker struct {
	Hash func([]byte) uint64 // of 64 well mixed bits; it must not keep what it is given

	buf    [MaxBytes]byte
	words  [1024]uint64
	nwords int
}

// Sign computes the signature of a text. It allocates nothing.
func (m *Masker) Sign(text string, sig *Signature) {
	sig.N, sig.Objects, sig.Links, sig.NumPhrases, sig.Wording = 0, 0, 0, 0, 0
	m.nwords = 0
	if len(text) > MaxBytes {
		text = text[:MaxBytes]
	}
	n, words, structured := 0, 0, false
	segments, objects, links := 0, 0, 0
	flush := func() {
		if n >= MinSegment && (words >= minWords || structured) && segments < maxSegments {
			sig.Keys[sig.N] = m.Hash(m.buf[:n])
			sig.N++
			segments++
		}
		n, words, structured = 0, 0, false
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n' || (c == '.' || c == '!' || c == '?') && (i+1 == len(text) || text[i+1] == ' ' || text[i+1] == '\n'):
			flush()
			i++
		case c == '{':
			// A flat object is its keys, in whatever order: producers shuffle them.
			if end, key, ok := m.object(text[i:], n); ok {
				flush()
				if objects < maxObjects {
					sig.Objects |= 1 << sig.N
					sig.Keys[sig.N] = key
					sig.N++
					objects++
				}
				i += end
				continue
			}
			m.buf[n] = c
			n++
			i++
		case c == '"':
			// A quoted value after a colon is variable; a quoted key is not.
			j := i + 1
			for j < len(text) && text[j] != '"' && text[j] != '\n' && j-i < 256 {
				j++
			}
			value := n > 0 && m.buf[n-1] == ':'
			if value && j < len(text) && text[j] == '"' {
				m.buf[n] = '?'
				n++
				structured = true
				i = j + 1
				continue
			}
			i++
		case wordByte(c):
			j := i
			digits, upper, lower := 0, 0, 0
			for j < len(text) && (wordByte(text[j]) || text[j] == '-' || text[j] == '/' && j-i > 3 || text[j] == '.' && j+1 < len(text) && wordByte(text[j+1])) {
				switch d := text[j]; {
				case d >= '0' && d <= '9':
					digits++
				case d >= 'A' && d <= 'Z':
					upper++
				case d >= 'a' && d <= 'z':
					lower++
				}
				j++
			}
			w := text[i:j]
			masked := byte(0)
			switch {
			case digits == len(w) || digits > 0 && lower+upper == 0:
				masked = '#'
			case len(w) > 7 && (w[:4] == "http" || w[:4] == "www."):
				masked = '~'
			case digits > 0 && len(w) >= 6, len(w) > 24:
				masked = '@'
			case i > 0 && text[i-1] == '@':
				masked = '&'
			}
			// http://… goes on beyond the colon.
			if len(w) >= 4 && len(w) <= 5 && (w == "http" || w == "https") && j+2 < len(text) && text[j] == ':' && text[j+1] == '/' {
				for j < len(text) && text[j] > ' ' && text[j] != '"' && text[j] != ')' {
					j++
				}
				masked = '~'
			}
			if masked == '~' && links < maxLinks {
				if key, ok := m.address(text[i:j], n); ok {
					sig.Links |= 1 << sig.N
					sig.Keys[sig.N] = key
					sig.N++
					links++
				}
			}
			start := n
			if masked != 0 {
				m.buf[n] = masked
				n++
			} else {
				for k := 0; k < len(w) && n < MaxBytes-2; k++ {
					c := w[k]
					if c >= 'A' && c <= 'Z' {
						c |= 0x20
					}
					m.buf[n] = c
					n++
				}
			}
			if m.nwords < len(m.words) {
				m.words[m.nwords] = m.Hash(m.buf[start:n])
				m.nwords++
			}
			words++
			i = j
		case c == ':' || c == '{' || c == '}' || c == '=' || c == ',':
			m.buf[n] = c
			n++
			i++
		default:
			i++
		}
		if n >= MaxBytes-2 {
			flush()
		}
	}
	flush()
	m.sketch(sig)
}

// object reads a flat JSON object at the start of text: where it ends, and a key made of its keys. What stands in the buffer
// before n stays; masked text is never longer than what it was read from, so that there is room for what is to be read.
func (m *Masker) object(text string, n int) (end int, key uint64, ok bool) {
	keys := 0
	for i := 1; i < len(text) && i < 1024; {
		switch c := text[i]; c {
		case '}':
			return i + 1, key*0x9e3779b97f4a7c15 + uint64(keys), keys >= 2
		case '{', '\n':
			return 0, 0, false
		case '"':
			j := i + 1
			for j < len(text) && text[j] != '"' {
				j++
			}
			if j >= len(text) {
				return 0, 0, false
			}
			k := j + 1
			for k < len(text) && text[k] == ' ' {
				k++
			}
			if k < len(text) && text[k] == ':' {
				key += m.Hash(m.buf[n:n+copy(m.buf[n:], text[i+1:j])]) | 1
				keys++
				k++
			}
			i = k
		default:
			i++
		}
	}
	return 0, 0, false
}

// address is a key made of where a link leads to: host and path, without what is wont to tell apart who follows it. What stands in
// the buffer before n stays.
func (m *Masker) address(link string, n int) (key uint64, ok bool) {
	if i := strings.Index(link, "://"); i >= 0 {
		link = link[i+3:]
	}
	if i := strings.IndexAny(link, "?#<>|\\"); i >= 0 {
		link = link[:i]
	}
	link = strings.TrimRight(link, ".,;:!?'*_/")
	host := len(link)
	if i := strings.IndexByte(link, '/'); i >= 0 {
		host = i
	}
	if host < 4 || strings.IndexByte(link[:host], '.') < 0 || len(link) > maxAddress {
		return 0, false
	}
	to := m.buf[n : n+copy(m.buf[n:], link)]
	for i, c := range to[:host] {
		if c >= 'A' && c <= 'Z' {
			to[i] = c | 0x20
		}
	}
	return m.Hash(to), true
}

// sketch takes the phrases out of the shingles of three words: the least hash of each bin.
func (m *Masker) sketch(sig *Signature) {
	if m.nwords < minShingles+2 {
		return
	}
	var mins [MaxPhrases]uint64
	for i := range mins {
		mins[i] = ^uint64(0)
	}
	wording := uint64(0)
	for i := 0; i+2 < m.nwords; i++ {
		h := bits.RotateLeft64(m.words[i]*0x9e3779b97f4a7c15, 31) ^ bits.RotateLeft64(m.words[i+1]*0xc2b2ae3d27d4eb4f, 17) ^ m.words[i+2]
		h *= 0x9e3779b97f4a7c15
		h ^= h >> 29
		wording = bits.RotateLeft64(wording, 5)*0x9e3779b97f4a7c15 ^ h
		bin, _ := bits.Mul64(h, MaxPhrases)
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 32
		mins[bin] = min(mins[bin], h)
	}
	for b, h := range mins {
		if h != ^uint64(0) {
			sig.Phrases[sig.NumPhrases] = h + uint64(b)
			sig.NumPhrases++
		}
	}
	sig.Wording = uint32(wording>>32) | 1
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}
