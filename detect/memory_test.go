package detect_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
)

// keeper does with an engine what package pipeline does: it brings back what a batch needs, saves checkpoints, and tells
// the engine later that they are saved.
type keeper struct {
	t      testing.TB
	e      *detect.Engine
	disk   map[string]string
	saves  uint64
	batch  []event.Event
	size   int
	every  int // batches between two checkpoints
	n      int
	alerts map[string]string
	most   int64
}

func newKeeper(t testing.TB, memory int64, size, every int) *keeper {
	return &keeper{t: t, e: detect.New(detect.Config{Memory: memory}, catalog.All()...), disk: map[string]string{}, size: size, every: every, alerts: map[string]string{}}
}

func (k *keeper) observe(ev *event.Event) {
	if k.batch = append(k.batch, *ev); len(k.batch) >= k.size {
		k.flush()
	}
}

func (k *keeper) flush() {
	for i := range k.batch {
		k.e.Away(&k.batch[i], func(key string) {
			if s := k.disk[key]; s != "" {
				if err := k.e.Bring(key, []byte(s)); err != nil {
					k.t.Fatal(err)
				}
			}
		})
	}
	for i := range k.batch {
		k.e.Observe(&k.batch[i])
	}
	k.e.Alerts(func(a *alert.Alert) {
		b, err := json.Marshal(a)
		if err != nil {
			k.t.Fatal(err)
		}
		k.alerts[a.ID] = fmt.Sprint(a.Revision, string(b))
	})
	k.batch = k.batch[:0]
	k.n++
	k.most = max(k.most, k.e.StateBytes())
	if k.e.Full() || k.n%k.every == 0 {
		k.save()
	}
}

func (k *keeper) save() {
	// The writer is one checkpoint behind.
	k.e.Saved(k.saves)
	k.saves++
	if err := k.e.Checkpoint(func(key string, s []byte) error {
		if k.disk[key] = string(s); len(s) == 0 {
			delete(k.disk, key)
		}
		return nil
	}); err != nil {
		k.t.Fatal(err)
	}
}

// An engine that can keep hardly any agent in memory finds what one finds that keeps all, and ends with the same states.
func TestWithLittleMemoryTheSameIsFoundInAWorld(t *testing.T) {
	long(t)
	outcome := func(memory int64, size, every int) *keeper {
		k := newKeeper(t, memory, size, every)
		world(11, k.observe, attacked)
		k.flush()
		k.save()
		return k
	}
	want := outcome(0, 100, 7)
	if len(want.alerts) == 0 {
		t.Fatal("there is nothing to find")
	}
	for _, c := range []struct {
		memory      int64
		size, every int
	}{{60_000, 1, 10}, {60_000, 50, 10}, {80_000, 100, 1000}} {
		got := outcome(c.memory, c.size, c.every)
		_, evicted, returned := got.e.Moved()
		if evicted < 1000 || returned < 1000 {
			t.Errorf("%+v: only %d agents were evicted and %d came back", c, evicted, returned)
		}
		if !maps.Equal(got.alerts, want.alerts) {
			t.Errorf("%+v: other alerts:\n%q\n%q", c, slices.Sorted(maps.Keys(got.alerts)), slices.Sorted(maps.Keys(want.alerts)))
		}
		for key := range want.disk {
			if key[:5] == "agent" && got.disk[key] != want.disk[key] {
				t.Errorf("%+v: the state of %s differs", c, key)
				break
			}
		}
	}
}

// newcomers lets n ids act that nobody has seen before, and one known agent among them now and then.
func newcomers(k *keeper, n int) {
	rng := rand.New(rand.NewPCG(1, 9))
	start := int64(1_700_000_000/86400*86400) * second
	at := start
	ev := event.Event{Kind: event.APICall, Access: event.Read, Action: "post.get", Service: "feed", Cohort: "c", CredentialID: "key"}
	for i := range n {
		at += 60
		ev.ID, ev.Time, ev.AgentID, ev.Resource = fmt.Sprint("e", i), at, fmt.Sprintf("bot-%08x", rng.Uint64()), fmt.Sprint("post/", i%1000)
		k.observe(&ev)
	}
	k.flush()
}

// A million ids that nobody has seen before stay within the limit, and an agent that was known before them, and
// that they drove out of memory, is as it was when it returns.
func TestAFloodOfNewAgentsStaysWithinTheLimit(t *testing.T) {
	const limit = 16 << 20
	ids := 1_000_000
	if underRace {
		ids = 60_000
	}
	known := func(k *keeper, after bool) {
		day := int64(1_700_000_000/86400*86400) * second
		hours := 72
		from := day - int64(hours)*3600*second
		if after {
			from, hours = day+2*3600*second, 2
		}
		for h := range hours {
			for i := range 5 {
				k.observe(&event.Event{ID: fmt.Sprint("k", after, h, i), AgentID: "known", Cohort: "known", Kind: event.APICall, Access: event.Read, Action: "page.get", Service: "wiki",
					Resource: fmt.Sprint("page/", i), UserAgent: "sdk", SourceIP: "10.0.0.1", Time: from + int64(h)*3600*second + int64(i)*second})
			}
		}
		k.flush()
		k.save()
	}
	k := newKeeper(t, limit, 1000, 100)
	known(k, false)
	before := k.disk["agent/known"]
	newcomers(k, ids)
	k.save()
	if got := k.disk["agent/known"]; got != before {
		t.Error("the state of the known agent changed while it was away")
	}
	folded, evicted, _ := k.e.Moved()
	t.Logf("%d ids: at most %.1f MiB of %.1f, %d agents in memory, %d folded, %d evicted", ids, float64(k.most)/(1<<20), float64(limit)/(1<<20), k.e.Agents(), folded, evicted)
	if k.most > limit {
		t.Errorf("the states took %d bytes, the limit is %d", k.most, limit)
	}
	if evicted == 0 {
		t.Error("nobody had to go")
	}
	_, _, back := k.e.Moved()
	known(k, true)
	if _, _, n := k.e.Moved(); n != back+1 {
		t.Errorf("the known agent was brought back %d times", n-back)
	}
	if k.disk["agent/known"] == before {
		t.Error("the known agent did not go on")
	}
}

// Without anybody to keep them, agents that make room begin anew; the same events still give the same alerts.
func TestForgettingDependsOnTheEventsAlone(t *testing.T) {
	outcome := func() string {
		e := detect.New(detect.Config{Memory: 80_000, Forget: true}, catalog.All()...)
		var all []string
		world(11, func(ev *event.Event) {
			e.Observe(ev)
			e.Alerts(func(a *alert.Alert) { all = append(all, a.ID) })
		}, attacked)
		if _, evicted, _ := e.Moved(); evicted == 0 {
			t.Fatal("nobody had to go")
		}
		return fmt.Sprint(all)
	}
	if a, b := outcome(), outcome(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}

// A restored engine keeps to its limit too, and what did not fit comes back when it is needed.
func TestRestoreKeepsToTheLimit(t *testing.T) {
	const limit = 4 << 20
	k := newKeeper(t, 0, 1000, 100)
	newcomers(k, 20_000)
	k.save()
	r := newKeeper(t, limit, 1, 1000)
	r.disk = k.disk
	for key, s := range k.disk {
		if err := r.e.Restore(key, []byte(s)); err != nil {
			t.Fatal(err)
		}
		r.most = max(r.most, r.e.StateBytes())
	}
	if r.most > limit*5/4 {
		t.Errorf("the restored states took %d bytes, the limit is %d", r.most, limit)
	}
	if r.e.Agents() > 10_000 {
		t.Fatalf("%d agents are in memory", r.e.Agents())
	}
	returned := 0
	for key := range k.disk {
		if key[:5] != "agent" {
			continue
		}
		ev := event.Event{AgentID: key[6:]}
		r.e.Away(&ev, func(string) { returned++ })
	}
	if missing := 20_000 - r.e.Agents(); returned < missing {
		t.Errorf("%d of %d agents that are not in memory would be asked for", returned, missing)
	}
}

func TestSqueezedStatesSwellToWhatTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOf(rapid.SampledFrom([]byte{0, 0, 0, 1, 255})).Draw(t, "state")
		if got, err := detect.Swell(detect.Squeeze(src)); err != nil || string(got) != string(src) {
			t.Fatalf("%v became %v, %v", src, got, err)
		}
	})
}
