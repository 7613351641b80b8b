package app_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/ingest/kafka"
)

// keyUse is a stream of two partitions: agents with a key each, and hours later an agent of the second partition that
// uses the key of one of the first, from a place of its own.
type keyUse struct {
	direct *kafka.Producer
	ids    int
}

const (
	keyAgents = 100
	keyHours  = 30
)

func (k *keyUse) produce(t *testing.T, ctx context.Context, partition int, events ...string) {
	t.Helper()
	var out []kafka.Message
	for _, e := range events {
		out = append(out, kafka.Message{Key: fmt.Append(nil, partition), Value: []byte(e)})
	}
	if err := k.direct.Produce(ctx, out...); err != nil {
		t.Fatal(err)
	}
}

func (k *keyUse) event(agent int, at time.Time, key int, ip, client string) string {
	k.ids++
	return fmt.Sprintf(`{"id":"k%d","time":%d,"kind":"api_call","agent_id":"agent-%d","action":"post.get","service":"feed","cohort":"c","resource":"post/%d","credential_id":"key-%d","source_ip":%q,"user_agent":%q}`,
		k.ids, at.UnixMilli(), agent, k.ids%97, key, ip, client)
}

// hours produces the everyday life of some hours; the even agents are of partition 0.
func (k *keyUse) hours(t *testing.T, ctx context.Context, from, to int) {
	t.Helper()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var events [2][]string
	for h := from; h < to; h++ {
		for agent := range keyAgents {
			at := start.Add(time.Duration(h)*time.Hour + time.Duration(agent)*30*time.Second)
			events[agent%2] = append(events[agent%2], k.event(agent, at, agent, fmt.Sprintf("10.%d.0.1", agent), "sdk/1"))
		}
	}
	// The partition of the thief is written first and read ahead of the other: the order of arrival must not count.
	k.produce(t, ctx, 1, events[1]...)
	k.produce(t, ctx, 0, events[0]...)
}

func (k *keyUse) theft(t *testing.T, ctx context.Context) {
	t.Helper()
	at := time.Date(2026, 3, 1, keyHours-1, 55, 0, 0, time.UTC)
	k.produce(t, ctx, 1, k.event(7, at, 12, "203.0.113.9", "curl/8"))
}

// shared waits until the group has that many members and each has a partition of the events.
func shared(t *testing.T, ctx context.Context, brokers []string, group string, members int) {
	t.Helper()
	client := &kafkago.Client{Addr: kafkago.TCP(brokers...), Timeout: 5 * time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("group %s never had %d working members", group, members)
		}
		res, err := client.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{group}})
		if err != nil || len(res.Groups) != 1 {
			continue
		}
		working := 0
		for _, m := range res.Groups[0].Members {
			for _, topic := range m.MemberAssignments.Topics {
				if topic.Topic == app.Events && len(topic.Partitions) > 0 {
					working++
				}
			}
		}
		if working == members && len(res.Groups[0].Members) == members {
			return
		}
	}
}

// told waits until the alert about the key is in the table, and returns all alerts of credential misuse about keys.
func (s *stage) told(t *testing.T, ctx context.Context, db string, events int, alive func()) []string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: nothing was told: %v", db, ctx.Err())
		}
		alive()
		var stored, alerts uint64
		err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT (SELECT uniqExact(id) FROM %s.events), (SELECT count() FROM %[1]s.alerts WHERE detector = 'credential-misuse' AND entity_kind = 'credential')", db)).Scan(&stored, &alerts)
		if err == nil && stored == uint64(events) && alerts > 0 {
			break
		}
	}
	return s.dump(t, ctx, fmt.Sprintf("SELECT * EXCEPT (%s) FROM %s.alerts FINAL WHERE entity_kind = 'credential'", s.clock(t, ctx, db, "alerts"), db))
}

// A key that agents of two partitions use, owned by two instances, is told of once, and just as one instance tells it;
// also when the instances are killed on the way, and when the exchange is within the process.
func TestAKeyUsedInTwoInstancesIsToldOnce(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector: make test-faults runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := newStage(t, ctx, 2)
	direct, err := kafka.NewDirectProducer(kafka.Config{Brokers: s.brokers}, app.Events)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	k := &keyUse{direct: direct}
	k.hours(t, ctx, 0, 10)

	pair := life{Brokers: s.brokers, DSN: s.database(t, ctx, "pair"), Group: "pair"}
	local := life{Brokers: s.brokers, DSN: s.database(t, ctx, "local"), Group: "local", Links: app.LinksLocal}
	disturbed := life{Brokers: s.brokers, DSN: s.database(t, ctx, "disturbed"), Group: "disturbed"}
	// One after the other, for the first makes the tables.
	c := &crew{t, map[*process]life{}}
	p1 := c.launch(pair)
	p1.await(t, p1.restored, "the first instance")
	c.launch(pair)
	d1 := c.launch(disturbed)
	d1.await(t, d1.restored, "the first instance")
	c.launch(disturbed)
	shared(t, ctx, s.brokers, "pair", 2)
	shared(t, ctx, s.brokers, "disturbed", 2)
	l1 := c.launch(local)
	l1.await(t, l1.restored, "the instance with links of its own")
	k.hours(t, ctx, 10, 20)
	c.kill(d1)
	c.kill(l1)
	l2 := c.launch(local)
	l2.await(t, l2.restored, "the instance with links of its own")
	k.hours(t, ctx, 20, keyHours)
	d2 := c.launch(disturbed)
	shared(t, ctx, s.brokers, "disturbed", 2)
	k.theft(t, ctx)
	c.kill(d2)
	c.kill(l2)
	c.launch(disturbed)
	c.launch(local)

	got := s.told(t, ctx, "pair", k.ids, c.supervise)
	torn := s.told(t, ctx, "disturbed", k.ids, c.supervise)
	within := s.told(t, ctx, "local", k.ids, c.supervise)
	c.dismiss()
	c.launch(life{Brokers: s.brokers, DSN: s.database(t, ctx, "single"), Group: "single"})
	want := s.told(t, ctx, "single", k.ids, c.supervise)
	if len(want) != 1 {
		t.Fatalf("one instance told %q", want)
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("two instances tell something else (-one +two):\n%s", d)
	}
	if d := gocmp.Diff(want, within); d != "" {
		t.Errorf("an exchange within the process, which was killed, tells something else (-topic +local):\n%s", d)
	}
	if d := gocmp.Diff(want, torn); d != "" {
		t.Errorf("two instances that were killed tell something else (-one +two):\n%s", d)
	}
}
