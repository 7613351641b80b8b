// Package pipeline takes the events of a Kafka partition to detection and to the store, each exactly once.
//
// A Worker owns one partition and with it the state of every agent in it. Its stages hand batches on through
// bounded channels, so that a slow store stops the fetching and memory stays what it is:
//
//	fetch ──► decode ──► observe ─────────────► write
//	          own        owns engine, dedupe    owns the store's writes: block, alerts, dead letters,
//	          goroutine  and the open block     then states, checkpoint, group offset; one unit at a time
//
// The protocol that makes it exactly once is described in ../PROTOCOL.md; in short:
//
//   - The store's newest checkpoint is the truth: an offset C, the owner's epoch, and the states of all entities
//     as they were when every record before C, and none after, had been observed.
//   - Everything between C and what was stored last is worked through again after a crash, with the same result:
//     an event's fate depends only on the records before it and on its own record.
//   - Rows are stored in offset order and, per day of event time, atomically. So the highest stored offset of
//     each day tells which of the repeated rows are there already; those are observed but not stored again.
//   - An alert has an id and a revision that follow from its events: a repeated one overwrites itself.
//   - A new owner fences the old: it claims the partition with a higher epoch, ends the old owner's inserts, and
//     only then asks what is stored.
package pipeline

import (
	"context"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/event/link"
	"github.com/astray-dev/astray/ingest/kafka"
)

// Engine is the detection of one partition. It is used by one goroutine.
type Engine interface {
	// Observe takes one event, in offset order. The event is valid during the call only.
	Observe(ev *event.Event)
	// Alerts yields the alerts opened or updated since the last call; they are copied before it returns.
	Alerts(yield func(*alert.Alert))
	// Checkpoint yields the states that changed since the last call, empty ones for what is to be forgotten. The bytes are
	// valid inside yield only.
	Checkpoint(yield func(key string, state []byte) error) error
	// Restore takes a state back, before the first Observe.
	Restore(key string, state []byte) error
	// Baselines yields the summaries changed since the last call.
	Baselines(yield func(*baseline.Summary))
	// Agents and StateBytes are gauges.
	Agents() int
	StateBytes() int64
}

// Linker is an Engine whose events bear on what crosses partitions.
type Linker interface {
	// Links yields, after Observe, what the event says to each partition of the exchange that has to hear of it. The
	// bytes are valid inside yield only.
	Links(yield func(partition int, data []byte))
}

// Scout is an Engine that can make ready for what comes.
type Scout interface {
	// Ahead is called with events that are observed next, and returns for how many of them it has made ready.
	Ahead(events []event.Event) int
}

// Evictor is an Engine that lets go of states for want of memory, and wants them back when it needs them. They are those
// that its checkpoints have yielded.
type Evictor interface {
	// Away yields the keys of states that the event needs and that are, if they are, in the store alone. It is asked of
	// all events of a batch before the first is observed.
	Away(ev *event.Event, yield func(key string))
	// Bring gives a state back.
	Bring(key string, state []byte) error
	// Full is asked after every batch. It reports whether what waits for a checkpoint takes so much memory that one is due.
	Full() bool
	// Saved says that everything that the first n calls of Checkpoint yielded is in the store.
	Saved(n uint64)
	// Moved counts the agents that were made small, were let go of, and came back.
	Moved() (folded, evicted, returned uint64)
}

// Returner is a Store that an Evictor's states can be asked of.
type Returner interface {
	// States yields the newest state of each of the keys that has one.
	States(ctx context.Context, cp Checkpoint, keys []string, yield func(key string, state []byte) error) error
}

// Historian is a Store that can tell the events themselves, for an engine whose states are of an unknown version.
type Historian interface {
	// History yields the stored events of the partition before cp.Offset in the order in which they were observed. The
	// event is valid inside yield only.
	History(ctx context.Context, cp Checkpoint, yield func(ev *event.Event)) error
}

// Exchange is where what crosses partitions is judged.
type Exchange interface {
	// Partitions is how many it has.
	Partitions() int
	// Send hands on a frame for each partition, and returns when none can be lost any more but by a crash before the
	// next Settle. After an error all of them are sent again.
	Send(ctx context.Context, frames []link.Frame) error
	// Settle returns when nothing that was sent for the source will be needed again.
	Settle(ctx context.Context, source int32) error
}

// Checkpoint says that every record of a partition before Offset has been stored, and that the states saved with
// it or before it are those of that moment.
type Checkpoint struct {
	Topic     string
	Partition int32
	Epoch     uint64 // the owner's; of two checkpoints the one with the higher epoch, then offset, is the newer
	Offset    int64  // the position to go on at
	Time      int64  // when it was written, microseconds since the epoch
}

// State is one entity's saved state, empty for one that is forgotten. Key and Data are valid during the call they are passed to.
type State struct {
	Key  string
	Data []byte
}

// Store keeps events, alerts, states and checkpoints. Its methods are called by one goroutine per partition, and
// by as many at once as there are partitions. Every write may be repeated after an error whose outcome nobody
// knows; it then must have the effect of one.
type Store interface {
	// Load returns the newest checkpoint of a partition, ok false when there is none.
	Load(ctx context.Context, topic string, partition int32) (cp Checkpoint, ok bool, err error)
	// LoadStates yields for every key the newest state whose offset is at most cp's, unless it is empty.
	LoadStates(ctx context.Context, cp Checkpoint, yield func(key string, data []byte) error) error
	// Fence makes sure that no insert of an owner with a lower epoch takes effect after it has returned.
	Fence(ctx context.Context, cp Checkpoint) error
	// StoredOffsets returns, for every day (event time, days since 1970) that has rows of the partition at or
	// after offset from, the highest offset stored.
	StoredOffsets(ctx context.Context, topic string, partition int32, from int64) (map[int32]int64, error)
	// SaveStates saves states valid at cp.Offset. They count only once a checkpoint at or beyond is saved. The error is
	// ErrLost, and nothing is saved, when a higher epoch has claimed the partition.
	SaveStates(ctx context.Context, cp Checkpoint, states []State) error
	// SaveCheckpoint saves cp. The error is ErrLost, and nothing is saved, when a higher epoch has claimed the partition.
	SaveCheckpoint(ctx context.Context, cp Checkpoint) error
	// WriteAlerts saves alerts; of one id the highest revision counts.
	WriteAlerts(ctx context.Context, alerts []*alert.Alert) error
	// WriteDeadLetters saves rejected messages, told apart by position.
	WriteDeadLetters(ctx context.Context, letters []DeadLetter) error
	// WriteBaselines saves summaries; of one entity, feature and window the newest counts.
	WriteBaselines(ctx context.Context, summaries []baseline.Summary) error
}

// Block collects rows and stores them. It is used by one goroutine at a time.
type Block interface {
	// Append adds a row. It copies what it needs of ev.
	Append(ev *event.Event, pos event.Position, late bool)
	// Rows is the number of rows that are not stored yet, Bytes about how much memory they take.
	Rows() int
	Bytes() int
	// Flush stores the rows, atomically per day of event time, and forgets them. After an error it is called
	// again for what is left; rows that had arrived all the same are not stored twice. The error is ErrLost, and
	// nothing more is stored, when a higher epoch than the block's has claimed the partition.
	Flush(ctx context.Context) error
	// Close releases what the block holds.
	Close() error
}

// Sink is where alerts and dead letters go besides the store: topics for others to read. A message may arrive
// more than once; alerts carry an id and dead letters a position to tell.
type Sink interface {
	Alerts(ctx context.Context, alerts []*alert.Alert) error
	DeadLetters(ctx context.Context, letters []DeadLetter) error
}

// Log reads a partition in offset order, as *kafka.Fetcher does.
type Log interface {
	Fetch(ctx context.Context, b *kafka.Batch) error
	Close() error
}

// Source is one assigned partition; Worker.Handle makes one of a *kafka.Assignment.
type Source interface {
	Source() (topic string, partition int32)
	// Start is where to begin without a checkpoint.
	Start(ctx context.Context) (int64, error)
	// Open begins to read at offset of a topic; of is zero when nobody knows which of its name it was.
	Open(offset int64, of kafka.TopicID) Log
	// Commit tells the group how far the partition is done.
	Commit(ctx context.Context, offset int64) error
	// Done is closed when the worker is to finish.
	Done() <-chan struct{}
}

// Wanter is a Source of which somebody waits for a checkpoint. Its worker makes one as soon as it has come to that offset.
type Wanter interface {
	// Wanted is the offset that a checkpoint is waited for at. It is asked often, by another goroutine.
	Wanted() int64
}

// Decode turns a message into events: it calls next for each and fills what it returns. now is the time to judge
// event times by, microseconds since the epoch. An error rejects the message with all its events; of an
// *event.Rejection the dead letter takes code and field; decode.ErrNone says that there is nothing in the message and
// nothing wrong with it. A Decode belongs to one goroutine.
type Decode func(m *kafka.Message, now int64, next func() *event.Event) error

// Single adapts a decoder of messages that are one event each.
func Single(d interface {
	Decode(msg []byte, now int64, ev *event.Event) error
}) Decode {
	return func(m *kafka.Message, now int64, next func() *event.Event) error {
		return d.Decode(m.Value, now, next())
	}
}

// DeadLetter is a message that was rejected.
type DeadLetter struct {
	Position event.Position
	Code     string // stable, e.g. "missing_field"
	Field    string // the field at fault, empty for the message as a whole
	Reason   string // for people
	Key      []byte // the record's key, redacted and cut to MaxDeadLetter
	// Headers are the record's, redacted and in its order: at most MaxHeaders of them, and MaxHeaderBytes in all. HeadersSize is
	// how many bytes all of them had, keys and values, as they came.
	Headers     []kafka.Header
	HeadersSize int
	Raw         []byte // the record's value, redacted and cut to MaxDeadLetter
	Size        int    // of the value as it came
	Time        int64  // the record's timestamp, microseconds since the epoch
}

// What is kept of a rejected message: bytes of its value and of its key, and its first headers.
const (
	MaxDeadLetter  = 16 << 10
	MaxHeaders     = 64
	MaxHeaderBytes = 8 << 10
)

// Deduper tells events that were there before. It belongs to one goroutine; its answers may depend only on the
// events it was asked about, in order.
type Deduper interface {
	// Duplicate reports whether an event with this id was seen on the same day of event time, and remembers it.
	Duplicate(ev *event.Event) bool
}

// Points of the checkpoint protocol at which a test may kill the process, in the order of Points.
const (
	BeforeBlock      = "before_block"
	AfterBlock       = "after_block"
	BeforeAlerts     = "before_alerts"
	AfterAlerts      = "after_alerts" // in the store, not yet on the topic
	AfterAlertTopic  = "after_alert_topic"
	BeforeLinks      = "before_links"
	AfterLinks       = "after_links"
	BeforeDead       = "before_dead_letters"
	AfterDead        = "after_dead_letters"
	BeforeStates     = "before_states"
	AfterStates      = "after_states"
	BeforeCheckpoint = "before_checkpoint"
	AfterCheckpoint  = "after_checkpoint"
	BeforeCommit     = "before_commit"
	AfterCommit      = "after_commit"
	AfterClaim       = "after_claim"
	AfterFence       = "after_fence"
	AfterRestore     = "after_restore"
)

// Points lists the fail points.
func Points() []string {
	return []string{BeforeBlock, AfterBlock, BeforeAlerts, AfterAlerts, AfterAlertTopic, BeforeLinks, AfterLinks, BeforeDead, AfterDead, BeforeStates,
		AfterStates, BeforeCheckpoint, AfterCheckpoint, BeforeCommit, AfterCommit, AfterClaim, AfterFence, AfterRestore}
}
