package detect

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

// keys is a detector that alerts about every key that more than one agent uses.
type keys struct{}

func (keys) Info() Info {
	return Info{Name: "keys", Severity: alert.Low, Title: "%s", Direct: true, Next: "Look."}
}

func (keys) Examine(_ *feature.Store, v *feature.View, out []Finding) []Finding {
	if v.Credential == nil || len(v.Credential.Names()) < 2 {
		return out
	}
	return append(out, Finding{Reading: feature.Reading{Name: "agents_of_key", Scale: feature.Hour, Observed: 2}, LogP: -40, Entity: v.Credential})
}

// What agents share comes and goes: the alerts about it are forgotten when they are over, here and where they are stored, and
// an engine that is stopped and loaded again in between goes on with the same.
func TestAlertsAboutWhatIsSharedComeToAnEnd(t *testing.T) {
	const hours = 12 * 24
	outcome := func(restart bool) (revisions map[string]uint64, disk map[string]string, most int) {
		disk, revisions = map[string]string{}, map[string]uint64{}
		e := New(Config{}, keys{})
		for hour := range hours {
			for i := range 30 {
				// Three keys an hour, the groups of whose agents overlap: some are told with another's alert.
				ev := event.Event{ID: fmt.Sprint(hour, "-", i), AgentID: fmt.Sprint("a", (hour/5*4+i%5)%40), Kind: event.APICall, Action: "post.get",
					CredentialID: fmt.Sprint("key-", hour, "-", i%3), Time: (1_700_000_000 + int64(hour)*3600 + int64(i)*60) * micros}
				e.Observe(&ev)
				e.Alerts(func(a *alert.Alert) { revisions[a.ID] = a.Revision })
				most = max(most, len(e.shared)+len(e.aliases))
			}
			if err := e.Checkpoint(func(k string, state []byte) error {
				if disk[k] = string(state); len(state) == 0 {
					delete(disk, k)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if restart && hour%7 == 3 {
				e = New(Config{}, keys{})
				for k, state := range disk {
					if err := e.Restore(k, []byte(state)); err != nil {
						t.Fatal(k, err)
					}
				}
			}
		}
		return revisions, disk, most
	}
	alerts, disk, most := outcome(false)
	stored := 0
	for k := range disk {
		if strings.HasPrefix(k, episodeKey) {
			stored++
		}
	}
	if len(alerts) < 40 {
		t.Fatalf("%d alerts: too few to say anything", len(alerts))
	}
	if limit := 3 * 53; most > limit || stored > limit {
		t.Errorf("%d entities with alerts known at once and %d stored after %d of them: two days have %d", most, stored, 3*hours, limit)
	}
	again, disk2, _ := outcome(true)
	if !maps.Equal(alerts, again) {
		t.Errorf("restarts change the alerts: %v, without %v", again, alerts)
	}
	if !maps.Equal(disk, disk2) {
		t.Error("restarts change what is stored")
	}
}

// However many things that agents share are told of at once, memory for them has a bound, and each is still told of.
func TestAFloodOfSharedAlertsIsBounded(t *testing.T) {
	const n = 2 * maxShared
	e := New(Config{}, keys{})
	told := map[string]bool{}
	for i := range 3 * n {
		ev := event.Event{ID: fmt.Sprint(i), AgentID: fmt.Sprint("a", i), Kind: event.APICall, Action: "post.get", CredentialID: fmt.Sprint("key-", i/3),
			Time: 1_700_000_000*micros + int64(i)*100_000}
		e.Observe(&ev)
		e.Alerts(func(a *alert.Alert) { told[a.EntityID] = true })
	}
	if len(e.shared) > maxShared+200 || len(e.aliases) > maxAliases {
		t.Errorf("%d alerts and %d aliases are kept", len(e.shared), len(e.aliases))
	}
	if len(told) != n {
		t.Errorf("%d of %d keys were told of", len(told), n)
	}
}
