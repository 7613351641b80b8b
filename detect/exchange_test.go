package detect_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/event/link"
	"github.com/astray-dev/astray/ingest/simulate"
)

// sharing is four days of agents in partitions of events. Each has its key, its address and its texts; on the last day a
// key is used by an agent of another partition from a new place, one address drives many agents, and many agents say
// the same. The frames are what the partitions' engines say of it, each in a log of its own.
func sharing(t testing.TB, partitions, exchanges int) (logs [][][]link.Frame) {
	const agents = 60
	const hour = 3600 * second
	start := int64(1_700_000_000/86400*86400) * second
	rng := rand.New(rand.NewPCG(5, 8))
	var events []event.Event
	add := func(at int64, agent int, e event.Event) {
		e.AgentID, e.Time = fmt.Sprint("agent-", agent), at
		if e.CredentialID == "" {
			e.CredentialID, e.SourceIP, e.UserAgent = fmt.Sprint("key-", agent), fmt.Sprintf("10.%d.0.1", agent), "sdk/1"
		}
		events = append(events, e)
	}
	words := []string{"river", "stone", "cloud", "metal", "paper", "green", "quiet", "north", "amber", "field", "glass", "orbit", "delta", "tiger"}
	for h := range int64(96) {
		for agent := range agents {
			for range 2 + rng.IntN(2) {
				at := start + h*hour + rng.Int64N(hour)
				if rng.IntN(4) > 0 {
					add(at, agent, event.Event{Kind: event.APICall, Access: event.Read, Action: "post.get", Service: "feed", Resource: fmt.Sprint("post/", rng.IntN(500), "x")})
					continue
				}
				text := fmt.Sprint("thoughts of ", agent)
				for range 12 {
					text += " " + words[rng.IntN(len(words))]
				}
				add(at, agent, event.Event{Kind: event.Post, Access: event.Write, Action: "post.create", Service: "feed", Resource: fmt.Sprint("post/", rng.Uint32()), Content: text})
			}
		}
	}
	thief := start + 90*hour
	for i := range int64(6) {
		add(thief+i*20*second, 7, event.Event{Kind: event.APICall, Access: event.Read, Action: "post.get", Service: "feed",
			CredentialID: "key-31", SourceIP: "203.0.113.9", ASN: 64500, UserAgent: "curl/8"})
	}
	for agent := range 20 {
		add(start+91*hour+int64(agent)*15*second, 30+agent, event.Event{Kind: event.Post, Access: event.Write, Action: "post.create", Service: "feed",
			Resource: fmt.Sprint("post/c", agent), Content: "buy the new token before midnight at the usual place and tell all of your friends about it now"})
	}
	slices.SortStableFunc(events, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) })
	engines := make([]*detect.Engine, partitions)
	offsets := make([]int64, partitions)
	logs = make([][][]link.Frame, partitions)
	open := make([][]link.Frame, partitions)
	fresh := func() []link.Frame { return make([]link.Frame, exchanges) }
	for p := range engines {
		engines[p] = detect.New(detect.Config{Links: exchanges}, catalog.All()...)
		open[p] = fresh()
	}
	for i := range events {
		ev := &events[i]
		ev.ID = fmt.Sprint("e", i)
		h := fnv.New32a()
		h.Write([]byte(ev.AgentID))
		p := int(h.Sum32()) % partitions
		engines[p].Observe(ev)
		engines[p].Alerts(func(a *alert.Alert) {
			if a.EntityKind != alert.KindAgent {
				t.Errorf("a partition's engine judged what agents share: %s", a.Reason)
			}
		})
		engines[p].Links(func(to int, data []byte) {
			open[p][to].Records = append(open[p][to].Records, link.Record{Offset: offsets[p], Data: slices.Clone(data)})
		})
		offsets[p]++
		if offsets[p]%50 == 0 || i >= len(events)-partitions {
			for to := range open[p] {
				f := &open[p][to]
				f.Source, f.Epoch, f.Watermark, f.Sent = int32(p), 1, ev.Time, start+97*hour+int64(i) // read quickly, long after
			}
			logs[p] = append(logs[p], open[p])
			open[p] = fresh()
		}
	}
	for p := range logs {
		for to := range open[p] {
			open[p][to].Source, open[p][to].Epoch, open[p][to].Watermark, open[p][to].Sent = int32(p), 1, start+98*hour, start+97*hour+second
		}
		logs[p] = append(logs[p], open[p])
	}
	return logs
}

// joined is what exchanges make of the frames, in the order that next chooses among the partitions' logs; again repeats
// the last frames of a log under a new owner, and restart has each exchange restored from its checkpoint after that many.
func joined(t testing.TB, logs [][][]link.Frame, exchanges int, next func(n int) int, again, restart int) map[string]string {
	t.Helper()
	found := map[string]string{}
	for to := range exchanges {
		x := detect.NewExchange(detect.Config{}, len(logs), catalog.All()...)
		disk := map[string]string{}
		at := make([]int, len(logs))
		taken := 0
		take := func(f link.Frame) {
			x.Observe(&event.Event{Content: string(f.Append(nil))})
			x.Alerts(func(a *alert.Alert) {
				b, err := json.Marshal(a)
				if err != nil {
					t.Fatal(err)
				}
				found[a.ID] = string(b)
			})
		}
		for {
			var left []int
			for p := range logs {
				if at[p] < len(logs[p]) {
					left = append(left, p)
				}
			}
			if len(left) == 0 {
				break
			}
			p := left[next(len(left))]
			take(logs[p][at[p]][to])
			at[p]++
			if taken++; again > 0 && taken%again == 0 {
				for back := max(0, at[p]-3); back < at[p]; back++ {
					f := logs[p][back][to]
					f.Epoch = uint64(1 + taken)
					take(f)
				}
				for i := at[p]; i < len(logs[p]); i++ {
					logs[p][i][to].Epoch = uint64(1 + taken)
				}
				old := logs[p][max(0, at[p]-2)][to]
				old.Epoch = 0
				take(old) // an owner that wakes up late
			}
			if restart > 0 && taken%restart == 0 {
				if err := x.Checkpoint(func(k string, s []byte) error { disk[k] = string(s); return nil }); err != nil {
					t.Fatal(err)
				}
				x = detect.NewExchange(detect.Config{}, len(logs), catalog.All()...)
				for k, s := range disk {
					if s == "" {
						continue
					}
					if err := x.Restore(k, []byte(s)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		x.Finish()
		x.Alerts(func(a *alert.Alert) {
			b, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			found[a.ID] = string(b)
		})
		if n := x.Stats(); n.Waiting > 0 || n.Damaged > 0 || n.Early > 0 {
			t.Errorf("exchange %d: %+v", to, n)
		}
	}
	return found
}

// What crosses partitions is found behind the exchange, and found the same however the partitions' frames interleave,
// whichever are repeated by a new owner, and wherever the exchange itself begins anew.
func TestExchangeFindsWhatCrossesPartitionsInAWorld(t *testing.T) {
	long(t)
	for _, exchanges := range []int{1, 3} {
		turn := 0
		want := joined(t, sharing(t, 4, exchanges), exchanges, func(n int) int { turn++; return turn % n }, 0, 0)
		var kinds []string
		for _, a := range want {
			var x alert.Alert
			if err := json.Unmarshal([]byte(a), &x); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, x.Detector+" "+x.EntityKind)
			if x.EntityKind == alert.KindCredential && x.EntityID != "key-31" {
				t.Errorf("the alert is about %s", x.EntityID)
			}
		}
		slices.Sort(kinds)
		kinds = slices.Compact(kinds)
		if !slices.Contains(kinds, "credential-misuse credential") || !slices.Contains(kinds, "coordination template") {
			t.Errorf("%d exchanges found %q", exchanges, kinds)
		}
		for name, c := range map[string]struct {
			next           func(n int) int
			again, restart int
		}{
			"one partition after the other": {func(int) int { return 0 }, 0, 0},
			"the last partition first":      {func(n int) int { return n - 1 }, 0, 0},
			"at random":                     {rand.New(rand.NewPCG(1, 1)).IntN, 0, 0},
			"with repeated stretches":       {rand.New(rand.NewPCG(2, 1)).IntN, 5, 0},
			"with restarts":                 {rand.New(rand.NewPCG(3, 1)).IntN, 0, 7},
			"with both":                     {rand.New(rand.NewPCG(4, 1)).IntN, 11, 13},
		} {
			if exchanges > 1 && c.again == 0 {
				continue // one exchange has tried it
			}
			got := joined(t, sharing(t, 4, exchanges), exchanges, c.next, c.again, c.restart)
			if len(got) != len(want) {
				t.Errorf("%s: %d alerts, want %d", name, len(got), len(want))
			}
			for id, a := range want {
				if got[id] != a {
					t.Errorf("%s: the alert %s differs:\n got %.600s\nwant %.600s", name, id, got[id], a)
					break
				}
			}
		}
	}
}

// The number of partitions of events changes nothing of what is found.
func TestExchangeDoesNotDependOnThePartitions(t *testing.T) {
	ids := func(partitions int) []string {
		got := joined(t, sharing(t, partitions, 1), 1, func(int) int { return 0 }, 0, 0)
		var ids []string
		for id := range got {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ids
	}
	one, four := ids(1), ids(4)
	if len(one) == 0 || !slices.Equal(one, four) {
		t.Errorf("one partition: %q\nfour: %q", one, four)
	}
}

// What an exchange costs: how much of a simulated network's events it hears of, and what it does with a link.
func BenchmarkExchange(b *testing.B) {
	world, err := simulate.New(simulate.Config{Agents: 400, Days: 2, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	e := detect.New(detect.Config{Links: 1}, catalog.All()...)
	var frames []string
	var f link.Frame
	var ev event.Event
	events, links, bytes := 0, 0, 0
	flush := func() {
		f.Watermark, f.Sent = ev.Time, ev.Time
		s := string(f.Append(nil))
		bytes += len(s)
		frames = append(frames, s)
		f.Records = f.Records[:0]
	}
	for world.Next(&ev) {
		e.Observe(&ev)
		e.Links(func(_ int, data []byte) {
			f.Records = append(f.Records, link.Record{Offset: int64(events), Data: slices.Clone(data)})
			links++
		})
		if events++; events%1000 == 0 {
			flush()
		}
	}
	flush()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		x := detect.NewExchange(detect.Config{}, 1, catalog.All()...)
		for _, s := range frames {
			x.Observe(&event.Event{Content: s})
			x.Alerts(func(*alert.Alert) {})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(links), "ns/link")
	b.ReportMetric(float64(links)/float64(events), "links/event")
	b.ReportMetric(float64(bytes)/float64(events), "B/event")
}
