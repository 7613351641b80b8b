// Package scenario tests detection with data: a YAML file says who does what in ordinary days, what happens then, and
// which alerts are to come of it, or none. docs/scenarios.md describes the file.
//
// Read turns a file into a Scenario, or into Problems that name line and key. Scenario.Run makes the events, runs the
// very engine that runs in production over them, and holds what comes against what was expected. Equal files give
// equal events.
package scenario

import (
	"time"

	"github.com/astray-dev/astray/ingest/event"
)

// Limits, so that a slip of the pen does not fill the memory.
const (
	maxAgents = 20_000
	maxEvents = 3_000_000
	maxDays   = 120
	maxFile   = 1 << 20
)

// Scenario is one test.
type Scenario struct {
	Path  string
	About string // what an analyst would say happens here
	Days  float64
	Seeds []uint64 // each is a run of its own; all must do
	Start time.Time
	// Budget and Detectors are as in the configuration.
	Budget    float64
	Detectors []string
	Recorded  string // NDJSON file of events that come first, "" for none

	agents   []agent
	groups   []group
	traffic  []activity
	incident []activity
	changes  []change

	Expect []Expectation // none: silence
	Others int           // how many alerts more may come
}

// Expectation is an alert that is to come.
type Expectation struct {
	Line       int
	Detectors  []string // any of them
	Agents     []string // the alert names them, …
	Least      int      // … at least this many of them
	Since      time.Duration
	Within     time.Duration
	Severities []string // any of them; none: whichever
}

type group struct {
	name        string
	first, many int // agents
}

// agent is who it is as long as nothing changes.
type agent struct {
	id    string
	i     int // in its group, from 1
	joins time.Duration
	identity
}

// identity is what may change.
type identity struct{ cohort, owner, version, client, source, credential string }

type agents []int // places in Scenario.agents

// activity is what agents do again and again.
type activity struct {
	who         agents
	from, until time.Duration // since the start of the scenario
	fromGiven   bool

	sessions float64       // a day, at random
	every    time.Duration // like clockwork
	times    int           // in all
	// once, at from, when none of these is set

	jitter, spread, weekends float64
	grows                    float64    // by which factor the rate has risen at the end, step by step
	hours                    [2]float64 // of the day, UTC
	length                   span       // events of an occasion
	gap                      time.Duration
	turns                    bool // the agents act one after the other
	steps                    bool // an occasion is all of ops in their order, not some of them
	ops                      []op
	shares                   float64 // sum
}

// op is the pattern of an event.
type op struct {
	share     float64
	kind      event.Kind
	access    event.Access
	texts     [numTexts]text // "" where the agent's own, or nothing
	status    []weighted
	request   span
	response  span
	wait      time.Duration // before it, instead of the activity's gap
	waitGiven bool
}

// Fields of an event that are written as texts.
const (
	actionText = iota
	methodText
	serviceText
	resourceText
	destinationText
	contentText
	replyText
	communityText
	credentialText
	sourceText
	clientText
	sessionText
	onBehalfText
	numTexts
)

var textNames = [numTexts]string{"action", "method", "service", "resource", "destination", "content", "reply_to", "community",
	"credential", "source", "client", "session", "on_behalf_of"}

type weighted struct {
	value  int
	weight float64
}

// span is a number between two, each order of magnitude as likely as another.
type span struct{ lo, hi float64 }

// change is who an agent is from a time on.
type change struct {
	who       agents
	at, until time.Duration
	over      time.Duration // one agent after the other within this
	silent    bool
	set       map[string]text
}
