package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HTTP is the listener for metrics, health and profiles.
type HTTP struct {
	Listen string // host:port; empty for none
	// Fallback takes another port of the same address when Listen's is taken, for one that nobody chose.
	Fallback bool
	Token    string // bearer token for /metrics and /debug/pprof; empty for none. Health never asks for it.
	Pprof    bool
	// StalledAfter is the age of the oldest record without a checkpoint, and the time without a partition, at which
	// the process is not ready any more.
	StalledAfter time.Duration
}

// serve answers until the returned function is called.
func serve(cfg HTTP, health *health, gather prometheus.Gatherer, log *slog.Logger) (stop func() error, err error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil && cfg.Fallback {
		host, _, _ := net.SplitHostPort(cfg.Listen)
		var second error
		if l, second = net.Listen("tcp", net.JoinHostPort(host, "0")); second == nil {
			log.Warn("http: the default port is taken, another is used; http.listen chooses one", "listen", l.Addr().String(), "err", err)
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	srv := &http.Server{Handler: handler(cfg, health, gather), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("http: serving ended", "err", err)
		}
	})
	log.Info("http: listening", "listen", l.Addr().String(), "pprof", cfg.Pprof, "token", cfg.Token != "")
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		wg.Wait()
		return err
	}, nil
}

func handler(cfg HTTP, health *health, gather prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	text := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		io.WriteString(w, body+"\n")
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if bad := health.check(r.Context()); len(bad) > 0 {
			text(w, http.StatusServiceUnavailable, strings.Join(bad, "\n"))
			return
		}
		text(w, http.StatusOK, "ready")
	})
	want := sha256.Sum256([]byte(cfg.Token))
	guarded := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if cfg.Token != "" {
				given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
				// Hashes are of one length, so that the comparison tells nothing.
				got := sha256.Sum256([]byte(given))
				if !ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
					w.Header().Set("WWW-Authenticate", "Bearer")
					text(w, http.StatusUnauthorized, "a bearer token is needed")
					return
				}
			}
			h.ServeHTTP(w, r)
		})
	}
	mux.Handle("GET /metrics", guarded(promhttp.HandlerFor(gather, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})))
	if cfg.Pprof {
		mux.Handle("GET /debug/pprof/", guarded(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/cmdline", guarded(http.HandlerFunc(pprof.Cmdline)))
		mux.Handle("GET /debug/pprof/profile", guarded(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/symbol", guarded(http.HandlerFunc(pprof.Symbol)))
		mux.Handle("GET /debug/pprof/trace", guarded(http.HandlerFunc(pprof.Trace)))
	}
	return mux
}

// health tells whether the process does its work: the schema is current, partitions are assigned, and none of them
// has stalled. What it says of partitions comes from the metrics, which the workers keep.
type health struct {
	schema       func(context.Context) error
	gather       prometheus.Gatherer
	stalledAfter time.Duration
	now          func() time.Time

	mu            sync.Mutex
	schemaChecked time.Time
	schemaErr     error
	lastAssigned  time.Time
	waitingSince  time.Time // for partitions that are assigned and not taken over
}

// schemaEvery is how long an answer about the schema counts, so that probes do not load the database; schemaAgain is how
// long one counts that says no, as it does while the database is started.
const (
	schemaEvery = 15 * time.Second
	schemaAgain = time.Second
)

// check returns what is wrong, nothing when the process is ready.
func (h *health) check(ctx context.Context) (bad []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	good := schemaEvery
	if h.schemaErr != nil {
		good = schemaAgain
	}
	if h.schemaChecked.IsZero() || now.Sub(h.schemaChecked) >= good {
		lim, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := h.schema(lim)
		cancel()
		if ctx.Err() == nil {
			h.schemaChecked, h.schemaErr = now, err
		}
	}
	if h.schemaErr != nil {
		bad = append(bad, "schema: "+h.schemaErr.Error())
	}
	families, err := h.gather.Gather()
	if err != nil {
		return append(bad, "metrics: "+err.Error())
	}
	assigned, age, working := 0.0, 0.0, 0.0
	stalled := ""
	for _, f := range families {
		for _, m := range f.GetMetric() {
			v := m.GetGauge().GetValue()
			switch f.GetName() {
			case "astray_kafka_assigned_partitions":
				assigned = v
			case "astray_agents":
				working++ // a partition has the gauge from when it was taken over
			case "astray_checkpoint_age_seconds":
				if v >= age {
					age = v
					stalled = ""
					for _, l := range m.GetLabel() {
						if l.GetName() == "partition" {
							stalled = l.GetValue()
						}
					}
				}
			}
		}
	}
	if assigned == 0 {
		h.waitingSince = time.Time{}
	}
	switch {
	case assigned > 0:
		h.lastAssigned = now
		if working >= assigned {
			h.waitingSince = time.Time{}
		} else if h.waitingSince.IsZero() {
			h.waitingSince = now
		}
		if w := h.waitingSince; !w.IsZero() && now.Sub(w) >= h.stalledAfter {
			bad = append(bad, fmt.Sprintf("partitions: %.0f of %.0f have not been taken over for %s", assigned-working, assigned, now.Sub(w).Round(time.Second)))
		}
	case h.lastAssigned.IsZero():
		bad = append(bad, "partitions: none is assigned yet")
	case now.Sub(h.lastAssigned) >= h.stalledAfter:
		// A rebalance takes partitions away for a moment; that alone is no reason to be restarted.
		bad = append(bad, fmt.Sprintf("partitions: none has been assigned for %s", now.Sub(h.lastAssigned).Round(time.Second)))
	}
	if limit := h.stalledAfter.Seconds(); limit > 0 && age >= limit {
		bad = append(bad, fmt.Sprintf("stalled: a record of partition %s has waited %.0f s for a checkpoint", stalled, age))
	}
	return bad
}
