package decode

import "bytes"

// Elements calls yield for each element of the JSON array that is the whole text, as it stands, with its index and
// the line it begins on, both from 0. An error says that the text is no array, or stops being one; the elements before
// that were yielded.
func Elements(text []byte, yield func(index, line int, element []byte) error) error {
	c := scanner{b: text, s: string(text)}
	if c.space() != '[' {
		if len(bytes.TrimSpace(text)) == 0 {
			return errEmpty
		}
		return errArray
	}
	c.i++
	if c.space() == ']' {
		c.i++
	} else {
		line, counted := 0, 0
		for index := 0; ; index++ {
			c.space()
			from := c.i
			line += bytes.Count(text[counted:from], []byte("\n"))
			counted = from
			if err := c.skip(); err != nil {
				return err
			}
			if err := yield(index, line, text[from:c.i]); err != nil {
				return err
			}
			ch := c.space()
			c.i++
			if ch == ']' {
				break
			}
			if ch != ',' {
				return errArray
			}
		}
	}
	if c.space(); c.i < len(text) {
		return errAfter
	}
	return nil
}
