package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

type worldOfHealth struct {
	*health
	assigned prometheus.Gauge
	age      *prometheus.GaugeVec
	agents   *prometheus.GaugeVec
	clock    time.Time
	schema   error
	asked    int
}

func newHealth(t *testing.T) (*worldOfHealth, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	w := &worldOfHealth{clock: noon,
		assigned: prometheus.NewGauge(prometheus.GaugeOpts{Name: "astray_kafka_assigned_partitions"}),
		age:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_checkpoint_age_seconds"}, []string{"topic", "partition"}),
		agents:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "astray_agents"}, []string{"topic", "partition"})}
	reg.MustRegister(w.assigned, w.age, w.agents)
	w.health = &health{gather: reg, stalledAfter: time.Minute, now: func() time.Time { return w.clock },
		schema: func(context.Context) error { w.asked++; return w.schema }}
	return w, reg
}

func TestReadinessNamesWhatIsWrong(t *testing.T) {
	w, _ := newHealth(t)
	expect := func(want ...string) {
		t.Helper()
		got := w.check(t.Context())
		if len(got) != len(want) {
			t.Fatalf("%q, want %q", got, want)
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%q, want %q", got[i], want[i])
			}
		}
	}
	expect("none is assigned yet")
	w.assigned.Set(2)
	expect()
	w.assigned.Set(0)
	w.clock = w.clock.Add(30 * time.Second)
	expect() // a rebalance
	w.clock = w.clock.Add(31 * time.Second)
	expect("none has been assigned for 1m1s")
	w.assigned.Set(1)
	w.age.WithLabelValues("t", "0").Set(59)
	w.age.WithLabelValues("t", "3").Set(61)
	expect("a record of partition 3 has waited 61 s")
	w.age.WithLabelValues("t", "3").Set(0)
	expect()
	w.clock = w.clock.Add(time.Minute)
	expect("1 of 1 have not been taken over for 1m0s")
	w.agents.WithLabelValues("t", "0").Set(0)
	expect()
	w.agents.Reset()
	expect() // taken over anew
	w.agents.WithLabelValues("t", "0").Set(7)
	w.schema = errors.New("unreachable")
	before := w.asked
	expect() // asked a moment ago
	w.clock = w.clock.Add(schemaEvery)
	expect("schema: unreachable")
	if w.asked != before+1 {
		t.Errorf("asked %d times", w.asked-before)
	}
}

func TestTheTokenGuardsMetricsAndProfilesAlone(t *testing.T) {
	w, reg := newHealth(t)
	w.assigned.Set(1)
	get := func(h http.Handler, path, auth string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	h := handler(HTTP{Token: "word", Pprof: true}, w.health, reg)
	for _, c := range []struct {
		path, auth string
		code       int
	}{{"/healthz", "", 200}, {"/readyz", "", 200}, {"/metrics", "", 401}, {"/metrics", "Bearer wrong", 401}, {"/metrics", "word", 401}, {"/metrics", "Bearer word", 200},
		{"/debug/pprof/", "", 401}, {"/debug/pprof/cmdline", "Bearer word", 200}, {"/", "", 404}} {
		if code, body := get(h, c.path, c.auth); code != c.code {
			t.Errorf("%s with %q: %d %s", c.path, c.auth, code, body)
		}
	}
	open := handler(HTTP{}, w.health, reg)
	if code, body := get(open, "/metrics", ""); code != 200 || !strings.Contains(body, "astray_kafka_assigned_partitions 1") {
		t.Error(code, body)
	}
	if code, _ := get(open, "/debug/pprof/", ""); code != 404 {
		t.Errorf("profiles without the flag: %d", code)
	}
	w.assigned.Set(0)
	w.lastAssigned = time.Time{}
	if code, body := get(open, "/readyz", ""); code != 503 || !strings.Contains(body, "partitions:") {
		t.Error(code, body)
	}
}

func TestATakenPortIsFatalOnlyWhenItWasChosen(t *testing.T) {
	defer goleak.VerifyNone(t)
	w, reg := newHealth(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	first, err := serve(HTTP{Listen: "127.0.0.1:0"}, w.health, reg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer first()
	busy := httptest.NewServer(http.NotFoundHandler())
	defer busy.Close()
	addr := busy.Listener.Addr().String()
	if _, err := serve(HTTP{Listen: addr}, w.health, reg, log); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Error(err)
	}
	second, err := serve(HTTP{Listen: addr, Fallback: true}, w.health, reg, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(); err != nil {
		t.Error(err)
	}
}
