package demo

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// Plain makes text safe to print on a terminal, on one line. Text of agents is data: escape sequences are taken
// out, and a control character, one that changes the direction of writing, or one that cannot be seen becomes "·".
func Plain(text string) string {
	text = ansi.Strip(strings.ToValidUTF8(text, "·"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), r == '\u115f', r == '\u1160', r == '\u3164', r == '\uffa0',
			unicode.Is(unicode.Variation_Selector, r):
			return '·'
		}
		return r
	}, text)
}

// Sentence is the first sentence of a reason.
func Sentence(reason string) string {
	for i := 0; i+2 < len(reason); i++ {
		if reason[i] == '.' && reason[i+1] == ' ' && (reason[i+2] >= 'A' && reason[i+2] <= 'Z') {
			return reason[:i+1]
		}
	}
	return reason
}
