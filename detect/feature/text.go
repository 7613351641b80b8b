package feature

import (
	"math/bits"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Text is split into segments (lines and sentences), each with its variable parts masked: numbers, words that mix letters
// with digits or are long without a vowel's rhythm (ids, addresses, hashes), links, mentions, and quoted values. What
// two texts share after that is their template. Beside the segments, the whole text gets a sketch: one-permutation
// MinHash over shingles of three masked words (Li, Owen, Zhang 2012). Each minimum is a phrase of its own: two texts share
// one with the probability that is their Jaccard similarity, and half of a text's phrases are shared by those that are
// nearly the same, whatever words an author adds, leaves out or exchanges; one phrase alone says nothing.
const (
	maxText      = 4096 // bytes looked at
	minSegment   = 24   // bytes of masked text below which a segment says too little
	minWords     = 4    // words below which it does as well, unless it is structured
	maxSegments  = 4
	maxObjects   = 2 // structured objects, which have places of their own: they often stand at the end
	maxLinks     = 2 // links, which have so as well
	sketchBins   = 8
	minShingles  = 12 // of a text that is sketched: shorter ones are alike by chance
	maxTemplates = maxSegments + maxObjects + maxLinks
)

// Signature is the keys under which a text's templates are found.
type Signature struct {
	Keys    [maxTemplates]uint64
	N       int
	Objects uint16 // bit set of the keys that are of structured objects
	Links   uint16 // … and of those that are of links

	Phrases    [sketchBins]uint64
	NumPhrases int
	Wording    uint32 // hash of all masked words
}

type masker struct {
	buf    [maxText]byte
	words  [1024]uint64
	nwords int
}

// sign computes the signature of a text. It allocates nothing.
func (m *masker) sign(text string, sig *Signature) {
	sig.N, sig.Objects, sig.Links, sig.NumPhrases, sig.Wording = 0, 0, 0, 0, 0
	m.nwords = 0
	if len(text) > maxText {
		text = text[:maxText]
	}
	n, words, structured := 0, 0, false
	segments, objects, links := 0, 0, 0
	flush := func() {
		if n >= minSegment && (words >= minWords || structured) && segments < maxSegments {
			sig.Keys[sig.N] = xxhash.Sum64(m.buf[:n])
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
			if end, key, ok := object(text[i:]); ok {
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
				if key := address(text[i:j]); key != 0 {
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
				for k := 0; k < len(w) && n < maxText-2; k++ {
					c := w[k]
					if c >= 'A' && c <= 'Z' {
						c |= 0x20
					}
					m.buf[n] = c
					n++
				}
			}
			if m.nwords < len(m.words) {
				m.words[m.nwords] = xxhash.Sum64(m.buf[start:n])
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
		if n >= maxText-2 {
			flush()
		}
	}
	flush()
	m.sketch(sig)
}

// address is a key made of where a link leads to: host and path, without what is wont to tell apart who follows it. It is 0 for what is
// no link.
func address(link string) uint64 {
	if i := strings.Index(link, "://"); i >= 0 {
		link = link[i+3:]
	}
	if i := strings.IndexAny(link, "?#<>|\\"); i >= 0 {
		link = link[:i]
	}
	link = strings.TrimRight(link, ".,;:!?'*_/")
	host := link
	if i := strings.IndexByte(link, '/'); i >= 0 {
		host = link[:i]
	}
	if len(host) < 4 || strings.IndexByte(host, '.') < 0 || len(link) > 512 {
		return 0
	}
	var buf [512]byte
	for i := range host {
		c := host[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	copy(buf[len(host):], link[len(host):])
	return xxhash.Sum64(buf[:len(link)]) * saltAction
}

// object reads a flat JSON object at the start of text: where it ends, and a key made of its keys.
func object(text string) (end int, key uint64, ok bool) {
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
				key += xxhash.Sum64String(text[i+1:j]) | 1
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

// sketch takes the phrases out of the shingles of three words: the least hash of each bin.
func (m *masker) sketch(sig *Signature) {
	if m.nwords < minShingles+2 {
		return
	}
	var mins [sketchBins]uint64
	for i := range mins {
		mins[i] = ^uint64(0)
	}
	wording := uint64(0)
	for i := 0; i+2 < m.nwords; i++ {
		h := bits.RotateLeft64(m.words[i]*0x9e3779b97f4a7c15, 31) ^ bits.RotateLeft64(m.words[i+1]*0xc2b2ae3d27d4eb4f, 17) ^ m.words[i+2]
		h *= 0x9e3779b97f4a7c15
		h ^= h >> 29
		wording = bits.RotateLeft64(wording, 5)*0x9e3779b97f4a7c15 ^ h
		bin, _ := bits.Mul64(h, sketchBins)
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
