package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/astray-dev/astray/cmd/internal/config"
)

// Problem is one thing that is wrong with a file, with its place.
type Problem struct {
	File    string
	Line    int    // 0 for the file as a whole
	Key     string // dotted, with places in lists in brackets; "" for the file as a whole
	Message string
}

func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Key != "" {
		s += ": " + p.Key
	}
	return s + ": " + p.Message
}

// Problems is everything that is wrong with a file.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// page is a file being read.
type page struct {
	name     string
	problems *Problems
}

func (p *page) bad(line int, key, format string, args ...any) {
	*p.problems = append(*p.problems, Problem{p.name, line, key, fmt.Sprintf(format, args...)})
}

// root returns the keys at the top of the file, nil when it is no YAML.
func (p *page) root(source []byte) *object {
	f, err := parser.ParseBytes(source, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, message := 0, err.Error()
		var y yaml.Error
		if errors.As(err, &y) {
			message = y.GetMessage()
			if t := y.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		p.bad(line, "", "is not YAML: %s", message)
		return nil
	}
	var bodies []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		p.bad(0, "", "is empty")
		return nil
	case 1:
		return (&value{p, "", bodies[0]}).object()
	}
	p.bad(lineOf(bodies[1]), "", "a second document begins; a scenario is one")
	return nil
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// value is a node and where it stands.
type value struct {
	page *page
	key  string
	node ast.Node
}

func (v *value) bad(format string, args ...any) { v.page.bad(lineOf(v.node), v.key, format, args...) }

func (v *value) line() int { return lineOf(v.node) }

// object is a mapping. Keys that nobody asked for are problems.
type object struct {
	value
	pairs map[string]*value
	order []string
	asked []string
}

// object is nil when the value is no mapping.
func (v *value) object() *object {
	var pairs []*ast.MappingValueNode
	switch n := v.node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		v.bad("holds keys, each with a value")
		return nil
	}
	o := &object{value: *v, pairs: map[string]*value{}}
	for _, p := range pairs {
		name := strings.TrimSpace(p.Key.GetToken().Value)
		full := name
		if v.key != "" {
			full = v.key + "." + name
		}
		at := &value{v.page, full, p.Key}
		switch {
		case p.Key.IsMergeKey():
			at.bad("merge keys (<<) are not read; write the values out")
		case o.pairs[name] != nil:
			at.bad("stands twice; first in line %d", o.pairs[name].line())
		default:
			o.pairs[name] = &value{v.page, full, p.Value}
			o.order = append(o.order, name)
		}
	}
	return o
}

// get returns the value of a key, nil when it is not there.
func (o *object) get(name string) *value {
	o.asked = append(o.asked, name)
	v := o.pairs[name]
	if v != nil {
		if _, null := v.node.(*ast.NullNode); null {
			v.bad("has no value")
			return nil
		}
	}
	return v
}

// done reports the keys that nobody asked for.
func (o *object) done() {
	for _, name := range o.order {
		if slices.Contains(o.asked, name) {
			continue
		}
		v := o.pairs[name]
		known := slices.Clone(o.asked)
		slices.Sort(known)
		known = slices.Compact(known)
		hint := "here stand " + strings.Join(known, ", ")
		if near := nearest(name, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		v.bad("is no key; %s", hint)
	}
}

// nearest is the name that differs from the word by a letter or two, "" when there is none.
func nearest(word string, names []string) string {
	best, at := "", 3
	for _, n := range names {
		if d := distance(word, n); d < at && d < len(n) {
			best, at = n, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// scalar is the text of a value that is neither list nor mapping.
func (v *value) scalar() (string, bool) {
	switch n := v.node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	v.bad("is a single value")
	return "", false
}

// items is the elements of a list; anything else is a list of one.
func (v *value) items() []*value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return []*value{v}
	}
	out := make([]*value, len(n.Values))
	for i, e := range n.Values {
		out[i] = &value{v.page, fmt.Sprintf("%s[%d]", v.key, i+1), e}
	}
	return out
}

func (o *object) str(name, otherwise string) string {
	v := o.get(name)
	if v == nil {
		return otherwise
	}
	s, _ := v.scalar()
	return s
}

func (o *object) strs(name string) []string {
	v := o.get(name)
	if v == nil {
		return nil
	}
	var out []string
	for _, i := range v.items() {
		if s, ok := i.scalar(); ok {
			out = append(out, s)
		}
	}
	return out
}

func (o *object) truth(name string) bool {
	v := o.get(name)
	if v == nil {
		return false
	}
	s, ok := v.scalar()
	if ok && s != "true" && s != "false" {
		v.bad("is true or false")
	}
	return s == "true"
}

func (o *object) float(name string, otherwise, lo, hi float64) float64 {
	v := o.get(name)
	if v == nil {
		return otherwise
	}
	before := len(*v.page.problems)
	if x := v.float(lo, hi); len(*v.page.problems) == before {
		return x
	}
	return otherwise
}

func (v *value) float(lo, hi float64) float64 {
	s, ok := v.scalar()
	if !ok {
		return lo
	}
	scale := 1.0
	if rest, percent := strings.CutSuffix(s, "%"); percent {
		s, scale = strings.TrimSpace(rest), 0.01
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		v.bad("%.40q is no number", s)
		return lo
	}
	if x *= scale; !(x >= lo && x <= hi) {
		v.bad("is from %g to %g", lo, hi)
		return lo
	}
	return x
}

func (o *object) whole(name string, otherwise, lo, hi int) int {
	v := o.get(name)
	if v == nil {
		return otherwise
	}
	return v.whole(lo, hi)
}

func (v *value) whole(lo, hi int) int {
	s, ok := v.scalar()
	if !ok {
		return lo
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		v.bad("%.40q is no whole number", s)
	case n < lo || n > hi:
		v.bad("is from %d to %d", lo, hi)
	default:
		return n
	}
	return lo
}

// duration reads "3d 10h 20m".
func (o *object) duration(name string, otherwise time.Duration) (d time.Duration, given bool) {
	v := o.get(name)
	if v == nil {
		return otherwise, false
	}
	s, ok := v.scalar()
	if !ok {
		return otherwise, false
	}
	parts := strings.Fields(s)
	for _, part := range parts {
		x, err := config.ParseDuration(part)
		if err != nil || x < 0 || d+x > maxDays*24*time.Hour {
			v.bad("%.40q is no span of time; write 90s, 20m, 3d or 3d 10h 20m", s)
			return otherwise, false
		}
		d += x
	}
	if len(parts) == 0 {
		v.bad("is empty; write 90s, 20m, 3d or 3d 10h 20m")
	}
	return d, true
}

// span reads "100..2000", "100-2000" or a number.
func (o *object) span(name string, otherwise span, lo float64) span {
	v := o.get(name)
	if v == nil {
		return otherwise
	}
	s, ok := v.scalar()
	if !ok {
		return otherwise
	}
	from, to, two := strings.Cut(s, "..")
	if !two {
		to = from
	}
	var x span
	var err1, err2 error
	x.lo, err1 = strconv.ParseFloat(strings.TrimSpace(from), 64)
	x.hi, err2 = strconv.ParseFloat(strings.TrimSpace(to), 64)
	switch {
	case err1 != nil || err2 != nil:
		v.bad("%.40q is neither a number nor like 100..2000", s)
	case !(x.lo >= lo && x.hi >= x.lo && x.hi <= math.MaxInt32*64):
		v.bad("is %g or more, and the second number no less than the first", lo)
	default:
		return x
	}
	return otherwise
}

func (o *object) text(name string) text {
	v := o.get(name)
	if v == nil {
		return nil
	}
	return v.text()
}

func (v *value) text() text {
	s, ok := v.scalar()
	if !ok {
		return nil
	}
	t, err := parseText(s)
	if err != nil {
		v.bad("%v", err)
	}
	return t
}

func sortProblems(p Problems) {
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
}
