package feature

import (
	"strings"
	"testing"
)

// A structured object has a place of its own: prose before it, however long and different, does not hide it.
func TestObjectAtTheEndOfALongTextIsSigned(t *testing.T) {
	const object = `{"kind":"order","item":"A","count":"7"}`
	prose := func(word string) string {
		return strings.Repeat("Some "+word+" sentence that is long enough to count as one. Another on "+word+" follows it here. ", 6)
	}
	var m masker
	objects := func(text string) (keys []uint64) {
		var sig Signature
		m.sign(text, &sig)
		for i, k := range sig.Keys[:sig.N] {
			if sig.Objects&(1<<i) != 0 {
				keys = append(keys, k)
			}
		}
		return keys
	}
	short := objects(object)
	if len(short) != 1 {
		t.Fatalf("the object alone gives %d keys of objects", len(short))
	}
	for _, word := range []string{"green", "distant"} {
		if long := objects(prose(word) + "\n\n" + `{"count": "9", "kind": "x", "item": "B"}`); len(long) != 1 || long[0] != short[0] {
			t.Errorf("after long prose the keys of objects are %x, want %x", long, short)
		}
	}
	if many := objects(strings.Repeat(object+"\n", 10)); len(many) > maxObjects {
		t.Errorf("ten objects give %d keys, want at most %d", len(many), maxObjects)
	}
}
