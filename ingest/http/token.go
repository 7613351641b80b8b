package http

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits are what one token may send. Zero means no limit, except where said.
type Limits struct {
	Events int // a second
	Bytes  int // a second, after decompression
	Body   int // of one request, after decompression; at most Config.MaxBody, which is the default
}

// Token is who may send. Name appears in metrics and as the producer of events.
type Token struct {
	Name   string
	Limits Limits

	hash          [sha256.Size]byte
	events, bytes bucket
}

// Tokens are all who may send. Their secrets are not kept, only hashes of them.
type Tokens struct{ list []*Token }

// minToken is how short a token may be, in bytes.
const minToken = 16

// ReadTokens reads a file of tokens, one a line: a name, the token, and limits as events=N, bytes=N (a second) and
// body=N. Lines that are blank or begin with # are passed over.
func ReadTokens(name string, def Limits) (*Tokens, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("http: tokens: %w", err)
	}
	defer f.Close()
	t, err := ParseTokens(f, def)
	if err != nil {
		return nil, fmt.Errorf("http: tokens: %s: %w", name, err)
	}
	return t, nil
}

// ParseTokens reads what a file of tokens has. def is what applies where a line names no limit. Errors name lines,
// never what stands in them.
func ParseTokens(r io.Reader, def Limits) (*Tokens, error) {
	var all Tokens
	in := bufio.NewScanner(r)
	for line := 1; in.Scan(); line++ {
		words := strings.Fields(in.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("line %d: a name and a token are needed", line)
		}
		if len(words[1]) < minToken {
			return nil, fmt.Errorf("line %d: the token has fewer than %d characters", line, minToken)
		}
		if len(words[0]) > 64 {
			return nil, fmt.Errorf("line %d: the name has more than 64 characters", line)
		}
		t := &Token{Name: words[0], Limits: def, hash: sha256.Sum256([]byte(words[1]))}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("line %d: a limit is events=N, bytes=N or body=N", line)
			}
			switch key {
			case "events":
				t.Limits.Events = n
			case "bytes":
				t.Limits.Bytes = n
			case "body":
				t.Limits.Body = n
			default:
				return nil, fmt.Errorf("line %d: a limit is events=N, bytes=N or body=N", line)
			}
		}
		for _, o := range all.list {
			if o.Name == t.Name || o.hash == t.hash {
				return nil, fmt.Errorf("line %d: the name or the token is another line's", line)
			}
		}
		all.list = append(all.list, t)
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	if len(all.list) == 0 {
		return nil, errors.New("there is no token")
	}
	return &all, nil
}

// inherit takes over what tokens of the same name have used up.
func (t *Tokens) inherit(old *Tokens) {
	for _, n := range t.list {
		for _, o := range old.list {
			if o.Name == n.Name {
				n.events.take(&o.events)
				n.bytes.take(&o.bytes)
			}
		}
	}
}

// take makes b what o is.
func (b *bucket) take(o *bucket) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.have, b.last = o.have, o.last
}

// find returns whose the secret is, nil for nobody's. Hashes are compared, all of them and in constant time, so that
// neither a token nor how much of it was guessed can be told from how long it takes.
func (t *Tokens) find(secret string) *Token {
	hash := sha256.Sum256([]byte(secret))
	var found *Token
	for _, o := range t.list {
		if subtle.ConstantTimeCompare(o.hash[:], hash[:]) == 1 {
			found = o
		}
	}
	return found
}

// bucket admits a rate. A request is let in while the bucket is not in debt and then pays what it turns out to cost, so
// that one larger than a second's worth is possible and makes the next ones wait.
type bucket struct {
	mu   sync.Mutex
	have float64
	last time.Time
}

// wait is how long to wait until a request is let in, 0 for now.
func (b *bucket) wait(now time.Time, rate int) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate)
	if b.have >= 0 {
		return 0
	}
	return time.Duration(-b.have / float64(rate) * float64(time.Second))
}

// pay takes what a request cost.
func (b *bucket) pay(now time.Time, rate, cost int) {
	if rate <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now, rate)
	b.have -= float64(cost)
}

func (b *bucket) fill(now time.Time, rate int) {
	if b.last.IsZero() {
		b.have, b.last = float64(rate), now
	}
	if passed := now.Sub(b.last); passed > 0 {
		b.have, b.last = min(float64(rate), b.have+passed.Seconds()*float64(rate)), now
	}
}
