// Package event defines the activity event, the unit that every part of Astray reads.
//
// An Event is one thing an agent did: a post that others can read, or an API call. The shape is the
// public contract "activity event, version 1"; its JSON form is decoded by package decode.
package event

import "strings"

// Limits of the contract, in bytes unless said otherwise.
const (
	MaxMessage = 1 << 20 // one message value
	MaxID      = 128
	MaxAgentID = 256
	MaxAction  = 128
	// MaxFuture is how far ahead of the receiver's clock an event time may lie, in microseconds.
	MaxFuture = 24 * 3600 * 1_000_000
)

// Kind tells posts from all other operations.
type Kind uint8

const (
	KindUnknown Kind = iota
	Post             // the agent wrote something others can read
	APICall          // any other operation, tool calls included
)

// String returns the contract's spelling.
func (k Kind) String() string {
	switch k {
	case Post:
		return "post"
	case APICall:
		return "api_call"
	}
	return "unknown"
}

// Access is the class of an operation.
type Access uint8

const (
	AccessUnknown Access = iota
	Read
	Write
	Delete
	Auth
	Admin
)

var accessNames = [...]string{"unknown", "read", "write", "delete", "auth", "admin"}

// String returns the contract's spelling, "unknown" for the zero value.
func (a Access) String() string {
	if int(a) < len(accessNames) {
		return accessNames[a]
	}
	return "unknown"
}

// ParseAccess is the inverse of String; ok is false for anything the contract does not name.
func ParseAccess(s string) (a Access, ok bool) {
	for i, n := range accessNames[1:] {
		if s == n {
			return Access(i + 1), true
		}
	}
	return AccessUnknown, false
}

// Label is one scalar kept from the producer; its value is the scalar's JSON text, unquoted for strings.
type Label struct{ Key, Value string }

// Secret says that a secret value was found in a field and replaced by its fingerprint before the event
// went any further. The value itself is nowhere.
type Secret struct {
	Field       string // the event field it stood in, e.g. "content"
	Rule        string // what kind of secret, e.g. "aws-access-token"
	Fingerprint string // keyed hash of the value: equal secrets have equal fingerprints
}

// Event is one accepted activity event. Strings may share one backing array per message: code that keeps
// a string beyond the handling of the event clones it (or keeps a hash), or it pins the whole message.
type Event struct {
	ID           string
	Time         int64 // microseconds since the Unix epoch, UTC
	Kind         Kind
	Access       Access
	AgentID      string
	Action       string
	Method       string
	Service      string // "unknown" when the producer gave none
	Resource     string
	Destination  string
	CredentialID string
	OwnerID      string
	OnBehalfOf   []string // nearest principal first
	SessionID    string
	TraceID      string
	AgentVersion string
	Cohort       string
	SourceIP     string // canonical text form where it parses as an address, else as sent
	ASN          uint32
	UserAgent    string
	Status       int32 // HTTP-like; 0 when absent
	RequestBytes int64
	// ResponseBytes and RequestBytes are 0 when absent.
	ResponseBytes int64
	DurationMS    float64
	Community     string
	ReplyTo       string
	Mentions      []string
	Content       string
	Labels        []Label
	Secrets       []Secret // what redaction found; empty for nearly every event
}

// Reset clears e for reuse, keeping the capacity of its slices unless a huge event blew them up. Nothing of what e was is held on to:
// a string that is left in a slice's unused part would keep the message that it is cut from, and all that was fetched with it.
func (e *Event) Reset() {
	*e = Event{
		OnBehalfOf: reuse(e.OnBehalfOf),
		Mentions:   reuse(e.Mentions),
		Labels:     reuse(e.Labels),
		Secrets:    reuse(e.Secrets),
	}
}

func reuse[T any](s []T) []T {
	if cap(s) > 256 {
		return nil
	}
	clear(s) // what is beyond was cleared when it was left
	return s[:0]
}

// Clone returns a deep copy of e that shares no memory with it.
func (e *Event) Clone() *Event {
	c := *e
	for _, s := range []*string{
		&c.ID, &c.AgentID, &c.Action, &c.Method, &c.Service, &c.Resource, &c.Destination, &c.CredentialID,
		&c.OwnerID, &c.SessionID, &c.TraceID, &c.AgentVersion, &c.Cohort, &c.SourceIP, &c.UserAgent,
		&c.Community, &c.ReplyTo, &c.Content,
	} {
		*s = strings.Clone(*s)
	}
	c.OnBehalfOf, c.Mentions = cloneStrings(e.OnBehalfOf), cloneStrings(e.Mentions)
	c.Labels = append([]Label(nil), e.Labels...)
	for i := range c.Labels {
		c.Labels[i] = Label{strings.Clone(c.Labels[i].Key), strings.Clone(c.Labels[i].Value)}
	}
	c.Secrets = append([]Secret(nil), e.Secrets...)
	for i, s := range c.Secrets {
		c.Secrets[i] = Secret{strings.Clone(s.Field), strings.Clone(s.Rule), strings.Clone(s.Fingerprint)}
	}
	return &c
}

func cloneStrings(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.Clone(s)
	}
	return out
}

// Position is where an event came from. One message may carry several events, told apart by Index.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
	Index     uint32
}
