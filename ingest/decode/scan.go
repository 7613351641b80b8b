package decode

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/astray-dev/astray/ingest/event"
)

// maxDepth bounds the nesting of values that are skipped. Skipping is iterative and keeps a bit per level.
const maxDepth = 512

// scanner reads one message as strict JSON (RFC 8259). It looks at b and slices s, which is b copied to the
// heap once, so that every string without escapes is a substring of the one copy.
type scanner struct {
	b   []byte // the caller's message, only looked at
	s   string // the same bytes
	i   int    // next byte to read
	bad bool   // the message holds invalid UTF-8 somewhere
}

var (
	errSyntax = &event.Rejection{Code: event.CodeBadJSON, Rule: "a message is one valid JSON object"}
	errDepth  = &event.Rejection{Code: event.CodeBadJSON, Rule: "values nest at most 512 deep"}
	errEmpty  = &event.Rejection{Code: event.CodeEmpty, Rule: "a message is not empty"}
	errLarge  = &event.Rejection{Code: event.CodeTooLarge, Rule: "a message is at most 1 MiB"}
	errArray  = &event.Rejection{Code: event.CodeBadJSON, Rule: "the text is one valid JSON array"}
	errAfter  = &event.Rejection{Code: event.CodeBadJSON, Rule: "nothing follows the object"}
)

// space skips white space and returns the byte it stands before, 0 at the end.
func (c *scanner) space() byte {
	for c.i < len(c.b) {
		switch ch := c.b[c.i]; ch {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

// text reads the string that starts at c.i. ok is false where the JSON is not valid; whole is false when
// something in it was not Unicode and now stands as U+FFFD.
func (c *scanner) text() (s string, whole, ok bool) {
	start := c.i + 1
	i := c.plain(start)
	if i >= len(c.b) {
		return "", false, false
	}
	if c.b[i] == '"' {
		c.i = i + 1
		s = c.s[start:i]
		if c.bad && !utf8.ValidString(s) {
			return string([]rune(s)), false, true // a U+FFFD per bad byte
		}
		return s, true, true
	}
	return c.escaped(start, i)
}

// plain returns the index of the first byte from i on that ends or escapes a string or may not stand in one.
func (c *scanner) plain(i int) int {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	b := c.b
	for ; i+8 <= len(b); i += 8 {
		// Each term sets the top bit of a byte that is ", \ or under 0x20; a borrow can add marks only above
		// a true one, so the lowest mark is exact.
		v := binary.LittleEndian.Uint64(b[i:])
		q, e := v^(ones*'"'), v^(ones*'\\')
		m := ((q-ones) & ^q | (e-ones) & ^e | (v-ones*0x20) & ^v) & tops
		if m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if ch := b[i]; ch == '"' || ch == '\\' || ch < 0x20 {
			break
		}
	}
	return i
}

// escaped goes on with the string that started at start and has its first escape (or a fault) at i.
func (c *scanner) escaped(start, i int) (s string, whole, ok bool) {
	// Unescaping never lengthens, so the raw length is room enough.
	end := i
	for end < len(c.b) && c.b[end] == '\\' {
		end = c.plain(min(end+2, len(c.b)))
	}
	var out strings.Builder
	out.Grow(end - start)
	whole = true
	for {
		if i >= len(c.b) {
			return "", false, false
		}
		out.WriteString(c.s[start:i])
		switch {
		case c.b[i] == '"':
			c.i = i + 1
			s = out.String()
			if c.bad && !utf8.ValidString(s) {
				return string([]rune(s)), false, true // a U+FFFD per bad byte
			}
			return s, whole, true
		case c.b[i] != '\\' || i+1 >= len(c.b):
			return "", false, false
		}
		i += 2
		switch e := c.b[i-1]; e {
		case '"', '\\', '/':
			out.WriteByte(e)
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r, valid := c.hex(i)
			if !valid {
				return "", false, false
			}
			i += 4
			if r >= 0xD800 && r < 0xE000 { // a surrogate counts only with its other half
				low, valid := rune(0), false
				if r < 0xDC00 && i+1 < len(c.b) && c.b[i] == '\\' && c.b[i+1] == 'u' {
					low, valid = c.hex(i + 2)
				}
				if valid && low >= 0xDC00 && low < 0xE000 {
					r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
					i += 6
				} else {
					r, whole = utf8.RuneError, false
				}
			}
			out.WriteRune(r)
		default:
			return "", false, false
		}
		start, i = i, c.plain(i)
	}
}

// hex reads four hexadecimal digits at i.
func (c *scanner) hex(i int) (r rune, ok bool) {
	if i+4 > len(c.b) {
		return 0, false
	}
	for _, h := range c.b[i : i+4] {
		switch {
		case h >= '0' && h <= '9':
			h -= '0'
		case h >= 'a' && h <= 'f':
			h -= 'a' - 10
		case h >= 'A' && h <= 'F':
			h -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

// number reads the number that starts at c.i; integral is true when it has neither fraction nor exponent.
func (c *scanner) number() (s string, integral, ok bool) {
	start := c.i
	digits := func() bool {
		from := c.i
		for c.i < len(c.b) && c.b[c.i]-'0' <= 9 {
			c.i++
		}
		return c.i > from
	}
	if c.b[c.i] == '-' {
		c.i++
	}
	switch {
	case c.i < len(c.b) && c.b[c.i] == '0':
		c.i++
	case !digits():
		return "", false, false
	}
	integral = true
	if c.i < len(c.b) && c.b[c.i] == '.' {
		integral = false
		if c.i++; !digits() {
			return "", false, false
		}
	}
	if c.i < len(c.b) && c.b[c.i]|0x20 == 'e' {
		integral = false
		if c.i++; c.i < len(c.b) && (c.b[c.i] == '+' || c.b[c.i] == '-') {
			c.i++
		}
		if !digits() {
			return "", false, false
		}
	}
	return c.s[start:c.i], integral, true
}

// word reads true, false or null.
func (c *scanner) word(w string) bool {
	if !strings.HasPrefix(c.s[c.i:], w) {
		return false
	}
	c.i += len(w)
	return true
}

// scalar reads a string, number or boolean as a label keeps it: text, or the JSON as it stands.
func (c *scanner) scalar(ch byte) (s string, ok bool) {
	switch ch {
	case '"':
		s, _, ok = c.text()
		return s, ok
	case 't':
		return "true", c.word("true")
	case 'f':
		return "false", c.word("false")
	}
	if ch != '-' && (ch < '0' || ch > '9') {
		return "", false
	}
	s, _, ok = c.number()
	return s, ok
}

// skip passes over the object or array that starts at c.i, checking its grammar.
func (c *scanner) skip() error {
	var object [maxDepth / 64]uint64 // one bit per level: set inside an object
	depth := 0
	for {
		// A value stands here.
		ch := c.space()
		switch ch {
		case '{', '[':
			if depth == maxDepth {
				return errDepth
			}
			word, bit := depth/64, uint64(1)<<(depth%64)
			object[word] &^= bit
			if ch == '{' {
				object[word] |= bit
			}
			depth++
			c.i++
			next := c.space()
			if next == ch+2 { // '{'+2 is '}', '['+2 is ']'
				c.i++
				depth--
				break
			}
			if ch == '{' {
				if !c.key() {
					return errSyntax
				}
			}
			continue
		case 'n':
			if !c.word("null") {
				return errSyntax
			}
		case '"':
			if !c.skipText() {
				return errSyntax
			}
		default:
			if _, ok := c.scalar(ch); !ok {
				return errSyntax
			}
		}
		// A value has ended: close what it closes, up to the next value.
		for {
			if depth == 0 {
				return nil
			}
			in := object[(depth-1)/64]>>((depth-1)%64)&1 == 1
			ch := c.space()
			c.i++
			if ch == ',' {
				if in {
					if c.space() != '"' || !c.key() {
						return errSyntax
					}
				}
				break
			}
			if in && ch != '}' || !in && ch != ']' {
				return errSyntax
			}
			depth--
		}
	}
}

// key passes over a key of a skipped object and its colon.
func (c *scanner) key() bool {
	if c.space() != '"' || !c.skipText() || c.space() != ':' {
		return false
	}
	c.i++
	return true
}

// skipText passes over a string without building it.
func (c *scanner) skipText() bool {
	for i := c.plain(c.i + 1); i < len(c.b); i = c.plain(i) {
		switch c.b[i] {
		case '"':
			c.i = i + 1
			return true
		case '\\':
			if i+1 >= len(c.b) {
				return false
			}
			switch c.b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if _, ok := c.hex(i + 2); !ok {
					return false
				}
				i += 6
			default:
				return false
			}
		default:
			return false
		}
	}
	return false
}
