// Command harness serves the plugin's backend over HTTP on loopback, at the addresses and in the shapes of Grafana's own
// API, over a ClickHouse that it starts and fills: for work on the pages and their browser tests, without Grafana. Two
// headers choose who calls: X-Astray-Role (Viewer, Editor, Admin; default Admin) and X-Astray-Login. It is no part of
// the plugin, and it asks nobody for a password.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/astray-dev/astray/cmd/internal/plugin"
	"github.com/astray-dev/astray/cmd/internal/scene"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/ingest/simulate"
)

func main() {
	embedded.MaybeChild()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
}

// run serves until the context ends. It prints the URL on out once it can be called.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	f := flag.NewFlagSet("harness", flag.ContinueOnError)
	f.SetOutput(log)
	listen := f.String("listen", "127.0.0.1:0", "loopback `ADDRESS` to serve on")
	static := f.String("static", "", "`DIR` of files to serve at /; what is not there is its index.html")
	dsn := f.String("dsn", "", "ClickHouse to read instead of an own one; nothing is written into it")
	sim := f.Bool("simulate", false, "fill the database from the simulated world")
	agents := f.Int("agents", 60, "`NUMBER` of simulated agents")
	days := f.Float64("days", 3, "length of the simulated span, in `DAYS` up to now")
	seed := f.Uint64("seed", 3, "`SEED` of the world")
	many := f.Int("alerts", 0, "`NUMBER` of made-up alerts to add")
	hostile := f.Bool("hostile", false, "add alerts and events with hostile texts")
	if err := f.Parse(args); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(*listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("--listen: %q is not on loopback", *listen)
	}
	if *dsn == "" {
		dir, err := os.MkdirTemp("", "astray-harness")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		server, err := embedded.StartClickHouse(ctx, embedded.Options{Dir: dir})
		if err != nil {
			return err
		}
		defer server.Kill()
		end := time.Now().UTC().Truncate(time.Minute)
		o := scene.Options{Alerts: *many, Hostile: *hostile, End: end}
		if *sim {
			o.World = simulate.Config{Agents: *agents, Days: *days, Seed: *seed, Start: end.Add(-time.Duration(*days * 24 * float64(time.Hour)))}
		}
		t0 := time.Now()
		done, err := scene.Fill(ctx, server.DSN(), o)
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "harness: %d events, %d alerts and %d baselines in %v; ClickHouse: %s\n", done.Events, done.Alerts, done.Baselines, time.Since(t0).Round(time.Millisecond), server.DSN())
		*dsn = server.UserDSN(embedded.Analyst)
	}
	g, err := newGrafana(*dsn, *static)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: g, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	fmt.Fprintf(out, "http://%s/\n", l.Addr())
	select {
	case err = <-served:
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err = srv.Shutdown(end); err != nil {
			err = srv.Close()
		}
		<-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// grafana answers as Grafana's HTTP API does for the plugin.
type grafana struct {
	*http.ServeMux
	plugin *plugin.Handler
	app    backend.AppInstanceSettings
	source backend.DataSourceInstanceSettings
}

const datasourceUID = "astray"

func newGrafana(dsn, static string) (*grafana, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("--dsn: is no URL")
	}
	password, _ := u.User.Password()
	settings, err := json.Marshal(map[string]any{"address": u.Host, "username": u.User.Username(), "database": strings.Trim(u.Path, "/")})
	if err != nil {
		return nil, err
	}
	secure := map[string]string{"password": password}
	g := &grafana{ServeMux: http.NewServeMux(), plugin: plugin.New(),
		app:    backend.AppInstanceSettings{JSONData: settings, DecryptedSecureJSONData: secure},
		source: backend.DataSourceInstanceSettings{ID: 1, UID: datasourceUID, Type: plugin.DatasourceID, Name: "Astray", JSONData: settings, DecryptedSecureJSONData: secure}}
	g.HandleFunc("/api/plugins/"+plugin.AppID+"/resources/{path...}", func(w http.ResponseWriter, r *http.Request) { g.resource(w, r, g.context(r, false)) })
	g.HandleFunc("/api/datasources/uid/{uid}/resources/{path...}", func(w http.ResponseWriter, r *http.Request) { g.resource(w, r, g.context(r, true)) })
	g.HandleFunc("GET /api/plugins/"+plugin.AppID+"/health", func(w http.ResponseWriter, r *http.Request) { g.health(w, r, g.context(r, false)) })
	g.HandleFunc("GET /api/datasources/uid/{uid}/health", func(w http.ResponseWriter, r *http.Request) { g.health(w, r, g.context(r, true)) })
	g.HandleFunc("POST /api/ds/query", g.query)
	g.HandleFunc("GET /api/harness/stream", g.stream)
	if static != "" {
		files := http.FileServer(http.Dir(static))
		g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			if _, err := os.Stat(filepath.Join(static, filepath.FromSlash(filepath.Clean("/"+r.URL.Path)))); err != nil {
				http.ServeFile(w, r, filepath.Join(static, "index.html"))
				return
			}
			files.ServeHTTP(w, r)
		})
	}
	return g, nil
}

// context of a call: who calls, and through what.
func (g *grafana) context(r *http.Request, source bool) backend.PluginContext {
	role, login := r.Header.Get("X-Astray-Role"), r.Header.Get("X-Astray-Login")
	if role == "" {
		role = "Admin"
	}
	if login == "" {
		login = strings.ToLower(role)
	}
	pc := backend.PluginContext{PluginID: plugin.AppID, User: &backend.User{Login: login, Name: login, Role: role}}
	if source {
		s := g.source
		pc.PluginID, pc.DataSourceInstanceSettings = plugin.DatasourceID, &s
	} else {
		a := g.app
		pc.AppInstanceSettings = &a
	}
	return pc
}

const maxBody = 8 << 20

func (g *grafana) resource(w http.ResponseWriter, r *http.Request, pc backend.PluginContext) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path := r.PathValue("path")
	target := path
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	err = g.plugin.CallResource(r.Context(), &backend.CallResourceRequest{PluginContext: pc, Path: path, Method: r.Method, URL: target, Headers: r.Header, Body: body},
		backend.CallResourceResponseSenderFunc(func(res *backend.CallResourceResponse) error {
			for k, values := range res.Headers {
				for _, v := range values {
					w.Header().Add(k, v)
				}
			}
			w.WriteHeader(res.Status)
			_, err := w.Write(res.Body)
			return err
		}))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func answer(w http.ResponseWriter, status int, x any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(x); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
	}
}

func (g *grafana) health(w http.ResponseWriter, r *http.Request, pc backend.PluginContext) {
	res, err := g.plugin.CheckHealth(r.Context(), &backend.CheckHealthRequest{PluginContext: pc})
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	status := http.StatusOK
	if res.Status != backend.HealthStatusOk {
		status = http.StatusBadRequest
	}
	answer(w, status, map[string]any{"status": strings.ToUpper(res.Status.String()), "message": res.Message, "details": json.RawMessage(res.JSONDetails)})
}

// query is POST /api/ds/query: {from, to, queries: [{refId, datasource, maxDataPoints, intervalMs, …}]}.
func (g *grafana) query(w http.ResponseWriter, r *http.Request) {
	var in struct {
		From, To string
		Queries  []json.RawMessage
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
		return
	}
	now := time.Now()
	span := backend.TimeRange{From: moment(in.From, now), To: moment(in.To, now)}
	req := &backend.QueryDataRequest{PluginContext: g.context(r, true)}
	for _, raw := range in.Queries {
		var q struct {
			RefID         string `json:"refId"`
			QueryType     string `json:"queryType"`
			MaxDataPoints int64  `json:"maxDataPoints"`
			IntervalMS    int64  `json:"intervalMs"`
		}
		if err := json.Unmarshal(raw, &q); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"message": err.Error()})
			return
		}
		req.Queries = append(req.Queries, backend.DataQuery{RefID: q.RefID, QueryType: q.QueryType, MaxDataPoints: q.MaxDataPoints, Interval: time.Duration(q.IntervalMS) * time.Millisecond, TimeRange: span, JSON: raw})
	}
	res, err := g.plugin.QueryData(r.Context(), req)
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"message": err.Error()})
		return
	}
	status := http.StatusOK
	for _, x := range res.Responses {
		if x.Error != nil {
			status = http.StatusBadRequest
		}
	}
	answer(w, status, res)
}

// moment is milliseconds since the epoch, "now" or "now-" and a duration in s, m, h or d, as Grafana writes them.
func moment(s string, now time.Time) time.Time {
	if rest, ok := strings.CutPrefix(s, "now"); ok {
		var n int
		var u byte
		if _, err := fmt.Sscanf(rest, "-%d%c", &n, &u); err == nil {
			return now.Add(-time.Duration(n) * map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[u])
		}
		return now
	}
	var ms int64
	if _, err := fmt.Sscan(s, &ms); err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// stream is the live channel of alerts as server-sent events, which Grafana would carry over its own socket.
func (g *grafana) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	pc := g.context(r, false)
	sub, err := g.plugin.SubscribeStream(r.Context(), &backend.SubscribeStreamRequest{PluginContext: pc, Path: "alerts"})
	if err != nil || sub.Status != backend.SubscribeStreamStatusOK {
		http.Error(w, "not allowed", http.StatusForbidden)
		return
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	err = g.plugin.RunStream(r.Context(), &backend.RunStreamRequest{PluginContext: pc, Path: "alerts"}, backend.NewStreamSender(packets(func(p *backend.StreamPacket) error {
		var line bytes.Buffer
		if err := json.Compact(&line, p.Data); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", line.Bytes()); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})))
	if err != nil && r.Context().Err() == nil {
		fmt.Fprintln(os.Stderr, "harness: stream:", err)
	}
}

type packets func(*backend.StreamPacket) error

func (p packets) Send(x *backend.StreamPacket) error { return p(x) }
