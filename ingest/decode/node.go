package decode

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/astray-dev/astray/ingest/event"
)

// tree is a JSON message as a tree, for the formats whose fields lie deep. It is read by the same scanner as the
// native shape, so what is valid is the same; beyond that, a key that stands twice in any object rejects the message.
type tree struct {
	in    scanner
	nodes []node // nodes[0] stands for what is absent, nodes[1] is the root
	most  int    // how many there may be
	dots  bool   // a key has a dot, so that two paths may read the same
}

type node struct {
	kind        byte // '{' '[' '"' '0' 't' 'n', and 0 for what is absent; 't' is true and false
	broken      bool // a string in which something was not Unicode
	used        bool // the mapping has taken it; what it left becomes labels
	key         string
	text        string // a string's text, the JSON of another scalar
	first, next int32  // first child and next sibling, 0 for none
}

var errMany = &event.Rejection{Code: event.CodeTooLarge, Rule: "a message has at most 65,536 values, or one in 8 bytes"}

// maxKept is how many nodes a tree may keep between messages.
const maxKept = 1 << 14

// parse reads msg, of at most limit bytes. So that a message of nothing but tiny values does not take many times its
// size in memory, a value has eight bytes on average; those of real messages have more.
func (t *tree) parse(msg []byte, limit int) error {
	if len(msg) > limit {
		return errLarge
	}
	t.release()
	t.dots = false
	t.most = max(1<<16, len(msg)/8)
	t.in = scanner{b: msg, s: string(msg)}
	t.in.bad = !utf8.ValidString(t.in.s)
	t.nodes = append(t.nodes, node{})
	if t.in.space() != '{' {
		if len(msg) == 0 {
			return errEmpty
		}
		return errSyntax
	}
	if err := t.value("", 0); err != nil {
		return err
	}
	if t.in.space(); t.in.i < len(msg) {
		return errAfter
	}
	return nil
}

// release lets go of the message.
func (t *tree) release() {
	t.in = scanner{}
	if cap(t.nodes) > maxKept {
		t.nodes = nil
	}
	clear(t.nodes)
	t.nodes = t.nodes[:0]
}

// value reads the value that comes next and appends its nodes.
func (t *tree) value(key string, depth int) error {
	c := &t.in
	n := int32(len(t.nodes))
	if len(t.nodes) > t.most {
		return errMany
	}
	ch := c.space()
	t.nodes = append(t.nodes, node{kind: ch, key: key})
	switch ch {
	case '{', '[':
		if depth == maxDepth {
			return errDepth
		}
		return t.children(n, ch, depth)
	case '"':
		s, whole, ok := c.text()
		if !ok {
			return errSyntax
		}
		t.nodes[n].text, t.nodes[n].broken = s, !whole
	case 'n':
		if !c.word("null") {
			return errSyntax
		}
	default:
		s, ok := c.scalar(ch)
		if !ok {
			return errSyntax
		}
		t.nodes[n].text = s
		t.nodes[n].kind = '0'
		if ch == 't' || ch == 'f' {
			t.nodes[n].kind = 't'
		}
	}
	return nil
}

func (t *tree) children(n int32, open byte, depth int) error {
	c := &t.in
	var keys keySet
	c.i++
	if c.space() == open+2 { // '{'+2 is '}', '['+2 is ']'
		c.i++
		return nil
	}
	last := int32(0)
	for {
		key := ""
		if open == '{' {
			if c.space() != '"' {
				return errSyntax
			}
			var ok bool
			if key, _, ok = c.text(); !ok || c.space() != ':' {
				return errSyntax
			}
			c.i++
			if !keys.add(key) {
				return reject(event.CodeDuplicateKey, clip(key), "stands once in its object")
			}
			t.dots = t.dots || strings.IndexByte(key, '.') >= 0
		}
		child := int32(len(t.nodes))
		if last == 0 {
			t.nodes[n].first = child
		} else {
			t.nodes[last].next = child
		}
		last = child
		if err := t.value(key, depth+1); err != nil {
			return err
		}
		ch := c.space()
		c.i++
		if ch == open+2 {
			return nil
		}
		if ch != ',' {
			return errSyntax
		}
	}
}

// at follows a path of keys and array indexes, separated by dots, from n; 0 where there is nothing or null.
func (t *tree) at(n int32, path string) int32 {
	for path != "" && n != 0 {
		var step string
		step, path, _ = strings.Cut(path, ".")
		parent := t.nodes[n]
		if parent.kind == '[' {
			index, err := strconv.Atoi(step)
			for n = parent.first; err == nil && index > 0 && n != 0; index-- {
				n = t.nodes[n].next
			}
			continue
		}
		for n = parent.first; n != 0 && t.nodes[n].key != step; {
			n = t.nodes[n].next
		}
	}
	if t.nodes[n].kind == 'n' {
		return 0
	}
	return n
}

// textAt reads the string at the first of paths that is there and not empty, for the contract's field.
func (t *tree) textAt(n int32, field string, paths ...string) (string, error) {
	for _, path := range paths {
		v := t.at(n, path)
		if v == 0 {
			continue
		}
		x := &t.nodes[v]
		if x.kind != '"' {
			return "", reject(event.CodeWrongType, field, "is a string, from "+path)
		}
		x.used = true
		if x.text == "" {
			continue
		}
		if x.broken && (field == "id" || field == "agent_id" || field == "action") {
			return "", reject(event.CodeInvalidUTF8, field, "is valid UTF-8, from "+path)
		}
		return x.text, nil
	}
	return "", nil
}

// integerAt reads the integer at the first of paths that is there. A string of digits counts where quoted is set,
// which is how 64-bit integers are written in protobuf's JSON.
func (t *tree) integerAt(n int32, field string, low, high int64, quoted bool, paths ...string) (value int64, ok bool, err error) {
	for _, path := range paths {
		v := t.at(n, path)
		if v == 0 {
			continue
		}
		x := &t.nodes[v]
		x.used = true
		if x.kind != '0' && !(quoted && x.kind == '"') {
			return 0, false, reject(event.CodeWrongType, field, "is an integer, from "+path)
		}
		value, err := strconv.ParseInt(x.text, 10, 64)
		if err != nil || value < low || value > high {
			return 0, false, reject(event.CodeBadValue, field,
				"is an integer from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10)+", from "+path)
		}
		return value, true, nil
	}
	return 0, false, nil
}

// leaves calls yield for every scalar under n that no mapping has taken, with its path. It stops when yield is false.
// Arrays are passed over: their elements have no names.
func (t *tree) leaves(n int32, path []byte, yield func(path []byte, x *node) bool) bool {
	for c := t.nodes[n].first; c != 0; c = t.nodes[c].next {
		x := &t.nodes[c]
		if x.kind == '[' || x.kind == 'n' || x.used {
			continue
		}
		sub := path
		if len(sub) > 0 {
			sub = append(sub, '.')
		}
		sub = append(sub, x.key...)
		if x.kind == '{' {
			if !t.leaves(c, sub, yield) {
				return false
			}
		} else if !yield(sub, x) {
			return false
		}
	}
	return true
}
