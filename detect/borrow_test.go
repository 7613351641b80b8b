package detect_test

import (
	"reflect"
	"runtime"
	"testing"
	"unsafe"
	"weak"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/simulate"
)

// An event's strings are cut from the memory that thousands of messages came in. An engine that kept one, be it an agent's name, would
// keep all of it, so it keeps copies: a few of the event seen last aside, nothing of what it was shown is held on to.
func TestAnEngineKeepsNoMemoryOfEventsInAWorld(t *testing.T) {
	long(t)
	e := detect.New(detect.Config{Links: 2, Memory: 64 << 20}, catalog.All()...)
	world, err := simulate.New(simulate.Config{Agents: 120, Days: 3, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	held := map[string][]weak.Pointer[byte]{}
	lend := func(field string, s *string) {
		if *s == "" {
			return
		}
		b := make([]byte, max(32, len(*s))) // smaller ones share a piece of memory
		held[field] = append(held[field], weak.Make(&b[0]))
		*s = unsafe.String(&b[0], copy(b, *s))
	}
	redactor := event.NewRedactor(nil)
	var ev event.Event
	alerts := 0
	for n := 0; world.Next(&ev); n++ {
		shown := ev.Clone()
		redactor.Redact(shown)
		v := reflect.ValueOf(shown).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			switch f := v.Field(i).Addr().Interface().(type) {
			case *string:
				lend(name, f)
			case *[]string:
				for j := range *f {
					lend(name, &(*f)[j])
				}
			case *[]event.Label:
				for j := range *f {
					lend(name, &(*f)[j].Key)
					lend(name, &(*f)[j].Value)
				}
			case *[]event.Secret:
				for j := range *f {
					lend(name, &(*f)[j].Field)
					lend(name, &(*f)[j].Rule)
					lend(name, &(*f)[j].Fingerprint)
				}
			}
		}
		e.Observe(shown)
		e.Links(func(int, []byte) {})
		if n%1000 == 0 {
			e.Alerts(func(*alert.Alert) { alerts++ })
			if err := e.Checkpoint(func(string, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtime.GC()
	if alerts == 0 {
		t.Error("nothing was told of")
	}
	for field, all := range held {
		kept := 0
		for _, p := range all {
			if p.Value() != nil {
				kept++
			}
		}
		if kept > 8 {
			t.Errorf("%s: of %d strings %d are kept", field, len(all), kept)
		}
	}
	for _, field := range []string{"AgentID", "Action", "Service", "Resource", "Destination", "CredentialID", "SourceIP", "UserAgent", "Content", "Mentions", "Labels", "Secrets"} {
		if len(held[field]) == 0 {
			t.Errorf("no event had a %s", field)
		}
	}
	runtime.KeepAlive(e)
}
