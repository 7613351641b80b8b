package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/astray-dev/astray/ingest/kafka"
)

// crew is instances of one group that are started again when they end by themselves, as whatever supervises them would.
type crew struct {
	t       *testing.T
	members map[*process]life
}

func (c *crew) launch(l life) *process {
	p := start(c.t, l)
	c.members[p] = l
	return p
}

func (c *crew) supervise() {
	for p, l := range c.members {
		select {
		case <-p.ended:
			delete(c.members, p)
			c.launch(l)
		default:
		}
	}
}

func (c *crew) kill(p *process) {
	delete(c.members, p)
	p.cmd.Process.Kill()
	p.await(c.t, p.ended, "the end")
}

func (c *crew) dismiss() {
	for p := range c.members {
		p.stdin.Close()
		p.await(c.t, p.ended, "the graceful end")
	}
	clear(c.members)
}

// stored waits until everything that was produced, and so many messages that were repeated besides, is in the tables and
// under a checkpoint.
func (s *stage) stored(t *testing.T, ctx context.Context, db string, c *crew, repeated int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var events, dead uint64
		var done int64
		err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT (SELECT uniqExact(id) FROM %s.events), (SELECT count() FROM %[1]s.dead_letters FINAL), (SELECT sum(o) FROM (SELECT argMax(offset, (epoch, offset)) AS o FROM %[1]s.checkpoints WHERE topic = 'agent.events' GROUP BY partition))", db)).Scan(&events, &dead, &done)
		// A portion with an attack has a message that is rejected and one that is repeated.
		if err == nil && events >= uint64(s.ids) && dead >= uint64(s.dead) && done == int64(s.ids+2*s.dead+repeated) {
			return
		}
		c.supervise()
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %d of %d events came: %v", db, events, s.ids, ctx.Err())
		}
	}
}

// Agents of every partition are attacked while the instances that own them die one after the other: those that are left
// load their baselines and go on. The tables and the alerts are those of one instance that nobody disturbed.
func TestStateFollowsItsPartitionWhenInstancesAreKilled(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	s := newStage(t, ctx, 3)
	s.produce(t, ctx, 2000, -1)
	trio := life{Brokers: s.brokers, DSN: s.database(t, ctx, "trio"), Group: "trio"}
	c := &crew{t, map[*process]life{}}
	first := c.launch(trio)
	first.await(t, first.restored, "the first instance")
	second, third := c.launch(trio), c.launch(trio)
	shared(t, ctx, s.brokers, "trio", 3)
	s.stored(t, ctx, "trio", c, 0) // all know their agents from here on

	// Each attack has begun when the owner dies, and goes on with the next.
	for i, victim := range []*process{second, third} {
		for scraper := 3 * i; scraper < 3*i+6; scraper++ {
			s.produce(t, ctx, 0, scraper)
		}
		c.kill(victim)
		for scraper := 3 * i; scraper < 3*i+6; scraper++ {
			s.produce(t, ctx, 0, scraper)
		}
		s.produce(t, ctx, 20, -1)
		shared(t, ctx, s.brokers, "trio", 2-i)
		s.produce(t, ctx, 20, -1)
	}
	s.stored(t, ctx, "trio", c, 0)
	c.dismiss()
	c.launch(life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"})
	s.stored(t, ctx, "calm", c, 0)
	c.dismiss()
	s.compare(t, ctx, "two-of-three-instances-killed", "calm", "trio")
}

// States of a version that this one does not know are rebuilt from the stored events: an agent that is attacked after an
// upgrade is found as if there had been none.
func TestStatesOfAnUnknownVersionAreRebuiltFromHistory(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s := newStage(t, ctx, 3)
	old := life{Brokers: s.brokers, DSN: s.database(t, ctx, "old"), Group: "old"}
	s.produce(t, ctx, 2000, -1)
	s.produce(t, ctx, 10, 4)
	s.finish(t, ctx, "old", old)
	sync := native.Context(ctx, native.WithSettings(native.Settings{"mutations_sync": 2}))
	if err := s.conn.Exec(sync, "ALTER TABLE old.agent_state UPDATE state = concat(char(99), substring(state, 2)) WHERE topic = 'agent.events' AND state != '' AND (startsWith(key, 'agent/') OR startsWith(key, 'fleet/') OR startsWith(key, 'entity/'))"); err != nil {
		t.Fatal(err)
	}
	unknown := func() (n uint64) {
		if err := s.conn.QueryRow(ctx, "SELECT count() FROM (SELECT key, argMax(state, offset) AS state FROM old.agent_state WHERE topic = 'agent.events' GROUP BY partition, key) WHERE startsWith(state, char(99))").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if unknown() < killAgents {
		t.Fatal("there is nothing to rebuild")
	}
	s.produce(t, ctx, 20, 4)
	s.produce(t, ctx, 20, 5)
	c := &crew{t, map[*process]life{}}
	c.launch(old)
	s.stored(t, ctx, "old", c, 0)
	// Every partition has had events, so every one writes a checkpoint soon, and no state of the old version is left.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := unknown(); n > 0; n = unknown() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d states of the unknown version are still there", n)
		}
	}
	c.dismiss()
	c.launch(life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"})
	s.stored(t, ctx, "calm", c, 0)
	c.dismiss()
	s.compare(t, ctx, "states-of-an-unknown-version", "calm", "old")
}

// newcomers produces events of ids that were never seen before, each at a service of its own: a crowd at one would be told of.
func (s *stage) newcomers(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	at := s.start.Add(time.Duration(s.minute) * time.Minute).UnixMilli()
	s.minutes[at/1000] += uint64(n)
	out := make([]kafka.Message, n)
	for i := range out {
		s.ids++
		out[i] = kafka.Message{Key: fmt.Append(nil, "bot-", s.ids), Value: fmt.Appendf(nil,
			`{"id":"e%d","time":%d,"kind":"api_call","agent_id":"bot-%d","action":"post.get","service":"s%d","cohort":"bots","resource":"post/%d"}`, s.ids, at+int64(i)/10, s.ids, s.ids, i%50)}
	}
	s.minute++
	if err := s.producer.Produce(ctx, out...); err != nil {
		t.Fatal(err)
	}
}

// A flood of new ids drives the known agents out of an engine that may keep little, and it is killed in the middle. Their
// states come back from the database when they return: what is found is what an engine finds that keeps everything.
func TestKilledInAFloodOfNewAgentsTheStatesComeBack(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := newStage(t, ctx, 3)
	s.produce(t, ctx, 2000, -1)
	small := life{Brokers: s.brokers, DSN: s.database(t, ctx, "small"), Group: "small", Memory: 1 << 20}
	c := &crew{t, map[*process]life{}}
	first := c.launch(small)
	s.stored(t, ctx, "small", c, 0)
	s.newcomers(t, ctx, 8000)
	c.kill(first)
	c.launch(small)
	s.newcomers(t, ctx, 8000)
	for scraper := range 6 {
		s.produce(t, ctx, 5, scraper)
		s.newcomers(t, ctx, 1000)
	}
	s.stored(t, ctx, "small", c, 0)
	c.dismiss()
	c.launch(life{Brokers: s.brokers, DSN: s.database(t, ctx, "calm"), Group: "calm"})
	s.stored(t, ctx, "calm", c, 0)
	c.dismiss()
	s.compare(t, ctx, "a-flood-of-new-ids-in-little-memory-one-kill", "calm", "small")
}

// An id that comes again hours later, long after the window of ids has forgotten it and after the engine was killed, is one
// event still; the same id on another day is another event.
func TestAnIdIsOneEventWithinItsDay(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s := newStage(t, ctx, 1)
	// Four blocks of a hundred rows are remembered exactly; everything older is told by the database.
	l := life{Brokers: s.brokers, DSN: s.database(t, ctx, "day"), Group: "day", Window: 400, Ids: 1 << 20}
	first := s.portion(600, -1)
	send := func(messages []kafka.Message) {
		t.Helper()
		if err := s.producer.Produce(ctx, messages...); err != nil {
			t.Fatal(err)
		}
	}
	send(first)
	c := &crew{t, map[*process]life{}}
	p := c.launch(l)
	s.stored(t, ctx, "day", c, 0)
	c.kill(p)
	c.launch(l)
	s.produce(t, ctx, 200, -1)
	send(first[:300]) // again, after a restart
	s.produce(t, ctx, 200, -1)
	send(first[300:])
	s.produce(t, ctx, 800, -1) // into the next day
	s.stored(t, ctx, "day", c, len(first))
	c.dismiss()
	var rows, ids uint64
	if err := s.conn.QueryRow(ctx, "SELECT count(), uniqExact(id) FROM day.events").Scan(&rows, &ids); err != nil {
		t.Fatal(err)
	}
	if len(first) < 1500 {
		t.Fatalf("only %d events were repeated", len(first))
	}
	if rows != ids || ids != uint64(s.ids) {
		t.Errorf("%d rows of %d ids, %d were produced and %d of these twice", rows, ids, s.ids, len(first))
	}
}
