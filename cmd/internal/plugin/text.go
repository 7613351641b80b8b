package plugin

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxShown = 2000 // characters of a text in a frame
	maxMarks = 3    // combining marks after one letter; real scripts need no more
)

// shown is a text from outside as it may be displayed: what controls the display, turns it around, or cannot be seen
// stands there as its escape, and it is cut after maxShown characters. Everything else is left as it is: a frame's
// text is text, nothing renders it.
func shown(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	n, marks := 0, 0
	var before rune
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if n++; n > maxShown {
			b.WriteString("…")
			break
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == 0xfe0f && unicode.Is(unicode.So, before): // gives a picture its colours
			b.WriteRune(r)
		case hidden(r) || marks > maxMarks:
			if r <= 0xff {
				fmt.Fprintf(&b, `\x%02x`, r)
			} else {
				fmt.Fprintf(&b, `\u{%x}`, r)
			}
		default:
			b.WriteRune(r)
		}
		before = r
		i += size
	}
	return b.String()
}

func plain(s string) bool {
	if len(s) > maxShown {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hidden reports whether a character is a control, a format character (bidirectional and zero-width ones among them), a
// separator of lines, unassigned or private, or blank though it counts as a letter.
func hidden(r rune) bool {
	switch {
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x2800, r == 0x034f, r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f:
		return true
	}
	return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r)
}

func shownAll(list []string) string {
	const most = 20
	out := make([]string, 0, min(len(list), most))
	for i, s := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		out = append(out, shown(s))
	}
	return strings.Join(out, ", ")
}
