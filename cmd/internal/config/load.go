package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/astray-dev/astray/detect/triage"
)

// Problem is one thing that is wrong, with its place.
type Problem struct {
	Place   string // FILE:LINE, the name of a variable, or the file
	Line    int    // 0 when the place is no line
	Key     string // dotted; empty when the place as a whole is at fault
	Message string
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Place + ": " + p.Message
	}
	return p.Place + ": " + p.Key + ": " + p.Message
}

// Problems is everything that is wrong with a configuration.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, x := range p {
		lines[i] = x.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the file (none when the name is empty) and the environment (NAME=VALUE) over it, and fills in what is not
// set. The error is of type Problems and holds all there are. Warnings are things that are allowed and probably
// not meant.
func Load(file string, environ []string) (c *Config, warnings []string, err error) {
	var text []byte
	if file != "" {
		if text, err = os.ReadFile(file); err != nil {
			return nil, nil, Problems{{Place: file, Message: readError(err)}}
		}
	}
	return Parse(file, text, environ)
}

func readError(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// Parse is Load with the file's text. name stands for the file in problems.
func Parse(name string, text []byte, environ []string) (*Config, []string, error) {
	l := &loader{name: name, fields: map[string]Field{}, sections: map[string]bool{}, places: map[string]Problem{}}
	for _, f := range Fields() {
		l.fields[f.Path] = f
		l.order = append(l.order, f.Path)
		for i, r := range f.Path {
			if r == '.' {
				l.sections[f.Path[:i]] = true
			}
		}
		if f.Default != "" {
			v, err := f.parse(f.Default)
			if err == nil {
				err = f.set(&l.c, v)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("default of %s: %w", f.Path, err) // a mistake in Fields
			}
		}
	}
	l.file(text)
	l.environment(environ)
	l.secrets()
	l.whole()
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, l.warnings, l.problems
	}
	return &l.c, l.warnings, nil
}

type loader struct {
	c        Config
	name     string
	fields   map[string]Field
	order    []string
	sections map[string]bool
	places   map[string]Problem // where a key was set
	problems Problems
	warnings []string
}

func (l *loader) bad(line int, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{l.at(line), line, key, fmt.Sprintf(format, args...)})
}

func (l *loader) at(line int) string {
	if line <= 0 {
		return l.name
	}
	return fmt.Sprintf("%s:%d", l.name, line)
}

// badKey reports a problem with a key where it was set, or with the file as a whole.
func (l *loader) badKey(key, format string, args ...any) {
	p, ok := l.places[key]
	if !ok {
		p = Problem{Place: cmp.Or(l.name, "configuration")}
	}
	p.Key, p.Message = key, fmt.Sprintf(format, args...)
	l.problems = append(l.problems, p)
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func (l *loader) file(text []byte) {
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) {
			n := 0
			if t := y.GetToken(); t != nil && t.Position != nil {
				n = t.Position.Line
			}
			l.bad(n, "", "is not YAML: %s", y.GetMessage())
			return
		}
		l.bad(0, "", "is not YAML: %v", err)
		return
	}
	seen := false
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if seen {
			l.bad(line(d.Body), "", "a second document begins; the file is one")
			return
		}
		seen = true
		l.section("", d.Body)
	}
}

// section walks the keys under a path.
func (l *loader) section(path string, n ast.Node) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
		return
	default:
		what := "the file"
		if path != "" {
			what = "it"
		}
		l.bad(line(n), path, "%s holds keys, each with a value, and not %s", what, describe(n))
		return
	}
	first := map[string]int{}
	for _, p := range pairs {
		at := line(p.Key)
		if p.Key.IsMergeKey() {
			l.bad(at, path, "merge keys (<<) are not read; write the values out")
			continue
		}
		key := keyText(p.Key)
		full := key
		if path != "" {
			full = path + "." + key
		}
		if before, twice := first[key]; twice {
			l.bad(at, full, "stands twice; first in line %d", before)
			continue
		}
		first[key] = at
		if l.sections[full] {
			l.section(full, p.Value)
			continue
		}
		f, ok := l.fields[full]
		switch {
		case !ok:
			l.bad(at, full, "is no key%s", l.hint(path, key))
		case f.Secret:
			l.bad(at, full, "a secret does not stand in this file; name a file that holds it in %s_file, or set %s", full, f.Env())
		default:
			l.places[full] = Problem{Place: l.at(at), Line: at}
			l.value(f, p.Value)
		}
	}
}

func keyText(k ast.Node) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	return strings.TrimSpace(k.GetToken().Value)
}

// hint says what an unknown key may have been meant to be.
func (l *loader) hint(path, key string) string {
	var siblings []string
	for _, p := range l.order {
		rest := p
		if path != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(p, path+"."); !ok {
				continue
			}
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(siblings, name) {
			siblings = append(siblings, name)
		}
	}
	if near := nearest(key, siblings); near != "" {
		return "; did you mean " + near + "?"
	}
	// The right name in the wrong place.
	for _, p := range l.order {
		if p == key || strings.HasSuffix(p, "."+key) {
			return "; did you mean " + p + "?"
		}
	}
	for s := range l.sections {
		if strings.HasSuffix(s, "."+key) {
			return "; did you mean " + s + "?"
		}
	}
	return "; here stand " + strings.Join(siblings, ", ")
}

// value reads what stands at a key.
func (l *loader) value(f Field, n ast.Node) {
	v, err := l.scalar(f, n)
	if err == nil && v != nil {
		err = f.set(&l.c, v)
	}
	if err != nil {
		l.bad(line(n), f.Path, "%v", err)
	}
}

// scalar returns the value of a node as the field's type, nil for one that is left blank.
func (l *loader) scalar(f Field, n ast.Node) (any, error) {
	if _, blank := n.(*ast.NullNode); blank {
		return nil, nil
	}
	wrong := func() error { return fmt.Errorf("is a %s, and not %s", f.Kind, describe(n)) }
	switch f.Kind {
	case Text:
		if s, ok := stringOf(n); ok {
			return s, nil
		}
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			return nil, fmt.Errorf("is a text, and not %s; put it in quotes", describe(n))
		}
		return nil, wrong()
	case List:
		if s, ok := stringOf(n); ok {
			return []string{s}, nil
		}
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			return nil, wrong()
		}
		out := make([]string, 0, len(seq.Values))
		for i, x := range seq.Values {
			s, ok := stringOf(x)
			if !ok {
				l.bad(line(x), fmt.Sprintf("%s[%d]", f.Path, i), "is a text, and not %s", describe(x))
				continue
			}
			out = append(out, s)
		}
		return out, nil
	case Int:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			return nil, wrong()
		}
		return f.parse(strings.ReplaceAll(fmt.Sprint(i.Value), "_", ""))
	case Number:
		switch n := n.(type) {
		case *ast.IntegerNode:
			return f.parse(fmt.Sprint(n.Value))
		case *ast.FloatNode:
			return n.Value, nil
		}
		return nil, wrong()
	case Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			return b.Value, nil
		}
		return nil, wrong()
	case Duration:
		if s, ok := stringOf(n); ok {
			return f.parse(s)
		}
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			return f.parse(n.GetToken().Value)
		}
		return nil, wrong()
	case Size:
		if s, ok := stringOf(n); ok {
			return f.parse(s)
		}
		if i, ok := n.(*ast.IntegerNode); ok {
			return f.parse(fmt.Sprint(i.Value))
		}
		return nil, wrong()
	case Rules:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			return nil, wrong()
		}
		var out []triage.Suppression
		for i, x := range seq.Values {
			if s, ok := l.rule(fmt.Sprintf("%s[%d]", f.Path, i), x); ok {
				out = append(out, s)
			}
		}
		return out, nil
	}
	return nil, wrong()
}

func stringOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("the text %.40q", n.Value)
	case *ast.LiteralNode:
		return "a text of several lines"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section with keys"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which are not read"
	}
	return "a " + strings.ToLower(n.Type().String())
}

var ruleKeys = []string{"detector", "entity_kind", "entity_id", "pattern", "until", "why"}

// rule reads one suppression.
func (l *loader) rule(path string, n ast.Node) (s triage.Suppression, ok bool) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		l.bad(line(n), path, "has the keys %s, and is not %s", strings.Join(ruleKeys, ", "), describe(n))
		return s, false
	}
	ok = true
	first := map[string]int{}
	for _, p := range pairs {
		key, at := keyText(p.Key), line(p.Key)
		full := path + "." + key
		if before, twice := first[key]; twice {
			l.bad(at, full, "stands twice; first in line %d", before)
			ok = false
			continue
		}
		first[key] = at
		v, isText := stringOf(p.Value)
		if !slices.Contains(ruleKeys, key) {
			hint := "; here stand " + strings.Join(ruleKeys, ", ")
			if near := nearest(key, ruleKeys); near != "" {
				hint = "; did you mean " + near + "?"
			}
			l.bad(at, full, "is no key%s", hint)
			ok = false
			continue
		}
		if !isText {
			l.bad(line(p.Value), full, "is a text, and not %s", describe(p.Value))
			ok = false
			continue
		}
		switch key {
		case "detector":
			s.Detector = v
		case "entity_kind":
			s.EntityKind = v
		case "entity_id":
			s.EntityID = v
		case "pattern":
			s.Pattern = v
		case "why":
			s.Why = v
		case "until":
			t, err := time.Parse(time.RFC3339, v)
			if err != nil {
				if t, err = time.Parse(time.DateOnly, v); err != nil {
					l.bad(line(p.Value), full, "%q is no time; write 2026-12-31 or 2026-12-31T18:00:00Z", v)
					ok = false
					continue
				}
			}
			s.Until = t
		}
	}
	s.ID, s.Who = path, "configuration"
	if ok {
		// A rule that has run out may stay in the file; it hides nothing.
		if err := s.Check(time.Time{}); err != nil {
			l.bad(line(n), path, "%v", err)
			ok = false
		}
	}
	return s, ok
}

func (l *loader) environment(environ []string) {
	byName := map[string]string{}
	var names []string
	for _, p := range l.order {
		n := l.fields[p].Env()
		byName[n] = p
		names = append(names, n)
	}
	sorted := slices.Clone(environ)
	slices.Sort(sorted)
	for _, e := range sorted {
		name, v, ok := strings.Cut(e, "=")
		if !ok || !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		path, known := byName[name]
		if !known {
			// Other programs set variables for theirs, container platforms for any name; so this is no error.
			if near := nearest(name, names); near != "" {
				l.warnings = append(l.warnings, fmt.Sprintf("%s: is not read; did you mean %s?", name, near))
			}
			continue
		}
		f := l.fields[path]
		x, err := f.parse(v)
		if err == nil {
			err = f.set(&l.c, x)
		}
		if err != nil {
			l.problems = append(l.problems, Problem{Place: name, Key: path, Message: err.Error()})
			continue
		}
		l.places[path] = Problem{Place: name}
	}
}

// secrets reads the files that hold secrets.
func (l *loader) secrets() {
	read := func(key, file, direct string) string {
		if file == "" {
			return direct
		}
		if direct != "" {
			l.badKey(key, "and %s are both set; one of them is enough", l.fields[strings.TrimSuffix(key, "_file")].Env())
			return ""
		}
		info, err := os.Stat(file)
		if err == nil && info.Size() > 64<<10 {
			err = errors.New("is larger than any secret (64 KiB)")
		}
		var b []byte
		if err == nil {
			b, err = os.ReadFile(file)
		}
		if err != nil {
			l.badKey(key, "%s: %s", file, readError(err))
			return ""
		}
		if info.Mode().Perm()&0o004 != 0 {
			l.warnings = append(l.warnings, fmt.Sprintf("%s: %s can be read by everybody on this machine", key, file))
		}
		s := strings.TrimRight(string(b), "\r\n")
		if s == "" {
			l.badKey(key, "%s is empty", file)
		}
		return s
	}
	c := &l.c
	c.Kafka.Password = read("kafka.sasl.password_file", c.Kafka.passwordFile, c.Kafka.Password)
	c.HTTP.Token = read("http.token_file", c.HTTP.tokenFile, c.HTTP.Token)
	c.FingerprintKey = []byte(read("fingerprint_key_file", c.fingerprintKeyFile, c.fingerprintKey))
	if n := len(c.FingerprintKey); n > 0 && n < 16 {
		key := "fingerprint_key_file"
		if c.fingerprintKeyFile == "" {
			key = "fingerprint_key"
		}
		l.badKey(key, "has %d bytes; a key has at least 16", n)
	}
	if p, inFile := l.places["clickhouse.dsn"]; inFile && p.Line > 0 && hasPassword(c.ClickHouse.DSN) {
		l.badKey("clickhouse.dsn", "a password does not stand in this file; name a file that holds it in clickhouse.password_file, or set ASTRAY_CLICKHOUSE_PASSWORD")
	}
	if c.ClickHouse.dsnFile != "" {
		s := read("clickhouse.dsn_file", c.ClickHouse.dsnFile, c.ClickHouse.DSN)
		if err := dsn(s); err != nil {
			l.badKey("clickhouse.dsn_file", "%v", err)
		}
		c.ClickHouse.DSN = s
	}
	password := read("clickhouse.password_file", c.ClickHouse.passwordFile, c.ClickHouse.password)
	if password == "" || c.ClickHouse.DSN == "" {
		return
	}
	key := "clickhouse.password_file"
	if c.ClickHouse.passwordFile == "" {
		key = "clickhouse.password"
	}
	u, err := url.Parse(c.ClickHouse.DSN)
	switch {
	case err != nil: // reported where the DSN was read
	case hasPassword(c.ClickHouse.DSN):
		l.badKey(key, "the DSN has a password of its own; one of them is enough")
	default:
		user := u.User.Username()
		if user == "" {
			user = cmp.Or(u.Query().Get("username"), "default")
		}
		u.User = url.UserPassword(user, password)
		c.ClickHouse.DSN = u.String()
	}
}

func hasPassword(dsn string) bool {
	u, err := url.Parse(dsn)
	if err != nil {
		return false
	}
	p, _ := u.User.Password()
	return p != "" || u.Query().Get("password") != ""
}

// whole checks what no key can tell by itself.
func (l *loader) whole() {
	c := &l.c
	_, c.HTTP.Chosen = l.places["http.listen"]
	k := &c.Kafka
	switch {
	case k.Mechanism == "" && k.User != "":
		l.badKey("kafka.sasl.user", "needs kafka.sasl.mechanism")
	case k.Mechanism == "" && k.passwordFile != "":
		l.badKey("kafka.sasl.password_file", "needs kafka.sasl.mechanism")
	case k.Mechanism != "" && k.User == "":
		l.badKey("kafka.sasl.mechanism", "needs kafka.sasl.user")
	case k.Mechanism != "" && k.Password == "" && k.passwordFile == "":
		l.badKey("kafka.sasl.mechanism", "needs kafka.sasl.password_file or ASTRAY_KAFKA_SASL_PASSWORD")
	case k.Mechanism == "PLAIN" && !k.TLS:
		l.warnings = append(l.warnings, "kafka.sasl.mechanism: PLAIN without kafka.tls.enabled sends the password in the clear")
	}
	if (k.CertFile == "") != (k.KeyFile == "") {
		key := "kafka.tls.cert_file"
		if k.CertFile == "" {
			key = "kafka.tls.key_file"
		}
		l.badKey(key, "kafka.tls.cert_file and kafka.tls.key_file go together")
	}
	for _, f := range []struct{ key, file string }{{"kafka.tls.ca_file", k.CAFile}, {"kafka.tls.cert_file", k.CertFile}, {"kafka.tls.key_file", k.KeyFile}} {
		if f.file == "" {
			continue
		}
		if !k.TLS {
			l.badKey(f.key, "needs kafka.tls.enabled: true")
		} else if _, err := os.Stat(f.file); err != nil {
			l.badKey(f.key, "%s: %s", f.file, readError(err))
		}
	}
	if c.ClickHouse.InsertTimeout >= k.SessionTimeout {
		key := "clickhouse.insert_timeout"
		if _, set := l.places[key]; !set {
			key = "kafka.session_timeout"
		}
		l.badKey(key, "clickhouse.insert_timeout (%s) is shorter than kafka.session_timeout (%s), or an instance that was replaced may still be writing",
			FormatDuration(c.ClickHouse.InsertTimeout), FormatDuration(k.SessionTimeout))
	}
	if k.Topic == k.AlertsTopic || k.Topic == k.DeadLettersTopic || k.AlertsTopic == k.DeadLettersTopic {
		l.badKey("kafka.topic", "the topics of events, alerts and dead letters are three")
	}
	if h := &c.HTTP; h.Listen != "off" && !Loopback(h.Listen) && h.Token == "" && h.tokenFile == "" && !h.AllowUnauthenticated {
		l.badKey("http.listen", "%s can be reached from other machines: set http.token_file, or http.allow_unauthenticated: true if something in front of it asks who is there", h.Listen)
	}
	if r := &c.Receive; r.Listen != "off" {
		if r.TokensFile == "" && !(r.AllowUnauthenticated && Loopback(r.Listen)) {
			l.badKey("receive.listen", "%s takes events of whoever asks: set receive.tokens_file (on loopback receive.allow_unauthenticated: true does)", r.Listen)
		}
		if (r.CertFile == "") != (r.KeyFile == "") {
			l.badKey("receive.cert_file", "and receive.key_file go together")
		}
	}
}

// Ready reports what run needs and is not set.
func (c *Config) Ready() error {
	var p Problems
	if len(c.Kafka.Brokers) == 0 {
		p = append(p, Problem{Place: "configuration", Key: "kafka.brokers", Message: "is needed: host:port of at least one broker (or ASTRAY_KAFKA_BROKERS)"})
	}
	if c.ClickHouse.DSN == "" {
		p = append(p, Problem{Place: "configuration", Key: "clickhouse.dsn", Message: "is needed: clickhouse://user@host:9000/database (or ASTRAY_CLICKHOUSE_DSN)"})
	}
	if len(p) == 0 {
		return nil
	}
	return p
}

// Effective yields every key with its value as text, secrets left out.
func (c *Config) Effective(yield func(f Field, value string)) {
	for _, f := range Fields() {
		v := f.get(c)
		switch x := v.(type) {
		case time.Duration:
			yield(f, FormatDuration(x))
		case int64:
			yield(f, FormatSize(x))
		case []string:
			yield(f, "["+strings.Join(x, ", ")+"]")
		case []triage.Suppression:
			yield(f, fmt.Sprintf("%d rules", len(x)))
		case string:
			switch {
			case f.Secret && x != "":
				x = "(set)"
			case f.Path == "clickhouse.dsn" && hasPassword(x):
				if u, err := url.Parse(x); err == nil {
					x = u.Redacted()
					if u.Query().Has("password") {
						x = u.Scheme + "://" + u.Host + u.Path + " (with a password)"
					}
				}
			}
			yield(f, x)
		default:
			yield(f, fmt.Sprint(x))
		}
	}
}
