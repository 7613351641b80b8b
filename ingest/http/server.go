// Package http takes events over HTTP, for those who have no Kafka producer, and writes them to the topic:
//
//	POST /v1/events   events of any format, one a line (application/x-ndjson) or as a JSON array (application/json)
//	POST /v1/traces   OTLP/HTTP trace exports, application/x-protobuf or application/json
//
// Bodies may be compressed with gzip or zstd. A request is answered with success only when the brokers have
// acknowledged every event of it; an event that is refused is named in the answer with its line and the reason. Sending a
// request again after an error doubles nothing: events carry ids, and duplicates are told by them.
//
// Events are written in the native shape, keyed by agent_id, with the header "producer" naming the token. Secrets in
// them are still there, as in what any producer writes, and are taken out by whoever reads the topic.
//
// Hostile by default: every request names a token; bodies are bounded before and after decompression, requests by rate
// and by number, and decoding by a semaphore, so that memory is bounded by Config alone.
package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	nethttp "net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
)

// Producer writes messages to the topic and returns when the brokers have acknowledged all of them.
type Producer interface {
	Produce(ctx context.Context, messages ...kafka.Message) error
}

// Config is how events are taken. Producer is needed, and Tokens or AllowUnauthenticated.
type Config struct {
	Producer Producer
	Tokens   *Tokens
	// AllowUnauthenticated takes events of whoever asks. It is refused for addresses other than loopback.
	AllowUnauthenticated bool

	Listen            string // host:port, default 127.0.0.1:4318
	CertFile, KeyFile string // TLS with this certificate, PEM; plain without

	MaxBody     int           // bytes of one request after decompression, and before; default 4 MiB
	MaxRequests int           // at once, default 32; more are told to come back
	Decoders    int           // requests decoded at once, default 2
	Timeout     time.Duration // for reading a request, and for the brokers to acknowledge it; default 30 s
	Drain       time.Duration // for requests under way when it stops; default 10 s

	Log      *slog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time
}

// Server takes events.
type Server struct {
	cfg      Config
	tokens   atomic.Pointer[Tokens] // nil: anyone may send
	tls      *tls.Config            // nil: plain
	requests chan struct{}          // one for each request that may be under way
	decoding chan *decode.Formats
	anyone   *Token
	m        metrics
}

type metrics struct {
	requests *prometheus.CounterVec
	events   *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	rejected *prometheus.CounterVec
	produce  prometheus.Histogram
	inFlight prometheus.Gauge
}

// New checks cfg and returns a server, and registers its metrics:
//
//	astray_http_requests_total{route,code}      requests by route and status
//	astray_http_events_total{token}             events acknowledged by the brokers
//	astray_http_bytes_total{token}              bytes of bodies after decompression
//	astray_http_rejected_total{code}            events refused, by reason
//	astray_http_produce_seconds                 time until the brokers acknowledged a request (histogram)
//	astray_http_requests_in_flight              requests under way
func New(cfg Config) (*Server, error) {
	if cfg.Producer == nil {
		return nil, errors.New("http: Producer: is needed")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:4318"
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("http: cert_file and key_file go together")
	}
	switch {
	case cfg.Tokens == nil && !cfg.AllowUnauthenticated:
		return nil, errors.New("http: tokens_file: is needed: every sender has a token")
	case cfg.Tokens == nil && !loopback(cfg.Listen):
		return nil, fmt.Errorf("http: tokens_file: is needed to listen on %s, which is not loopback", cfg.Listen)
	}
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&cfg.MaxBody, 4<<20)
	def(&cfg.MaxRequests, 32)
	def(&cfg.Decoders, 2)
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Drain <= 0 {
		cfg.Drain = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, requests: make(chan struct{}, cfg.MaxRequests), decoding: make(chan *decode.Formats, cfg.Decoders), anyone: &Token{Name: "anyone"}}
	s.tokens.Store(cfg.Tokens)
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("http: cert_file, key_file: %w", err)
		}
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	}
	for range cfg.Decoders {
		s.decoding <- &decode.Formats{Limit: cfg.MaxBody}
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "astray_http_" + name, Help: help}, labels)
	}
	s.m = metrics{
		requests: vec("requests_total", "Requests, by route and status.", "route", "code"),
		events:   vec("events_total", "Events acknowledged by the brokers.", "token"),
		bytes:    vec("bytes_total", "Bytes of bodies after decompression.", "token"),
		rejected: vec("rejected_total", "Events refused, by reason.", "code"),
		produce: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "astray_http_produce_seconds", Help: "Time until the brokers acknowledged a request.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "astray_http_requests_in_flight", Help: "Requests under way."}),
	}
	if cfg.Registry != nil {
		cfg.Registry.MustRegister(s.m.requests, s.m.events, s.m.bytes, s.m.rejected, s.m.produce, s.m.inFlight)
	}
	return s, nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// SetTokens replaces those who may send, while requests are answered. It has no effect on a server without tokens.
func (s *Server) SetTokens(t *Tokens) {
	if old := s.tokens.Load(); old != nil && t != nil {
		t.inherit(old)
		s.tokens.Store(t)
	}
}

// Listen opens the address, so that a wrong one is found before anything else starts.
func (s *Server) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: listen: %w", err)
	}
	return l, nil
}

// Serve answers on l until ctx ends: it then takes no more requests, lets those under way end, for Config.Drain at
// most, and returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &nethttp.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: s.cfg.Timeout, WriteTimeout: 2*s.cfg.Timeout + 5*time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		TLSConfig: s.tls,
	}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			ended <- server.ServeTLS(l, "", "")
			return
		}
		ended <- server.Serve(l)
	}()
	s.cfg.Log.Info("http: taking events", "address", l.Addr().String(), "tls", s.tls != nil)
	select {
	case err := <-ended:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.cfg.Log.Warn("http: requests were still under way when it stopped", "err", err)
		if err := server.Close(); err != nil {
			return fmt.Errorf("http: close: %w", err)
		}
	}
	<-ended
	return nil
}

// Handler answers the routes.
func (s *Server) Handler() nethttp.Handler {
	mux := nethttp.NewServeMux()
	mux.Handle("POST /v1/events", s.route("events", s.events))
	mux.Handle("POST /v1/traces", s.route("traces", s.traces))
	return mux
}

// failure is an answer other than success. text is for people and holds nothing of the request.
type failure struct {
	status int
	text   string
	after  time.Duration // Retry-After, when it is more than 0
}

// request is one request that was let in.
type request struct {
	*nethttp.Request
	token *Token
	media string
	limit int
}

// route lets a request in, or says why not, and counts it.
func (s *Server) route(name string, act func(nethttp.ResponseWriter, *request) (int, *failure)) nethttp.Handler {
	return nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		q := &request{Request: r, media: media(r.Header.Get("Content-Type")), limit: s.cfg.MaxBody}
		status, f := s.admit(w, q, act)
		if f != nil {
			status = f.status
			if f.after > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
			}
			if status == nethttp.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="astray"`)
			}
			if r.Body != nil && (status == nethttp.StatusUnauthorized || status == nethttp.StatusRequestEntityTooLarge) {
				w.Header().Set("Connection", "close") // what is left of the body is not read
			}
			if name == "traces" {
				writeStatus(w, q.media, f)
			} else {
				writeError(w, f)
			}
		}
		s.m.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
	})
}

func (s *Server) admit(w nethttp.ResponseWriter, q *request, act func(nethttp.ResponseWriter, *request) (int, *failure)) (int, *failure) {
	q.token = s.anyone
	if tokens := s.tokens.Load(); tokens != nil {
		scheme, secret, _ := strings.Cut(q.Header.Get("Authorization"), " ")
		if q.token = tokens.find(strings.TrimSpace(secret)); q.token == nil || !strings.EqualFold(scheme, "bearer") {
			return 0, &failure{status: nethttp.StatusUnauthorized, text: "a valid bearer token is needed"}
		}
	}
	if b := q.token.Limits.Body; b > 0 {
		q.limit = min(q.limit, b)
	}
	now := s.cfg.Now()
	l := q.token.Limits
	if wait := max(q.token.events.wait(now, l.Events), q.token.bytes.wait(now, l.Bytes)); wait > 0 {
		return 0, &failure{nethttp.StatusTooManyRequests, "the token's rate is used up", wait}
	}
	select {
	case s.requests <- struct{}{}:
	default:
		return 0, &failure{nethttp.StatusServiceUnavailable, "too many requests are under way", time.Second}
	}
	s.m.inFlight.Inc()
	defer func() {
		<-s.requests
		s.m.inFlight.Dec()
	}()
	return act(w, q)
}

func media(contentType string) string {
	contentType, _, _ = strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(contentType))
}

// body reads the request's body, decompressed.
func (s *Server) body(w nethttp.ResponseWriter, q *request) ([]byte, *failure) {
	tooLarge := &failure{status: nethttp.StatusRequestEntityTooLarge, text: fmt.Sprintf("a body has at most %d bytes, compressed or not", q.limit)}
	if q.ContentLength > int64(q.limit) {
		return nil, tooLarge
	}
	var in io.Reader = nethttp.MaxBytesReader(w, q.Body, int64(q.limit))
	switch encoding := strings.ToLower(strings.TrimSpace(q.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, broken(err, tooLarge)
		}
		in = z
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(max(q.limit, maxWindow))))
		if err != nil {
			return nil, broken(err, tooLarge)
		}
		defer z.Close()
		in = z
	default:
		return nil, &failure{status: nethttp.StatusUnsupportedMediaType, text: "Content-Encoding is gzip, zstd or identity"}
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(in, int64(q.limit)+1))
	switch {
	case n > int64(q.limit):
		return nil, tooLarge
	case err != nil:
		return nil, broken(err, tooLarge)
	}
	s.m.bytes.WithLabelValues(q.token.Name).Add(float64(n))
	q.token.bytes.pay(s.cfg.Now(), q.token.Limits.Bytes, int(n))
	return buf.Bytes(), nil
}

// maxWindow is what a zstd frame may make its reader keep: what level 19 asks for, however small the body.
const maxWindow = 8 << 20

// broken tells why a body could not be read.
func broken(err error, tooLarge *failure) *failure {
	var limit *nethttp.MaxBytesError
	switch {
	case errors.As(err, &limit), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{status: nethttp.StatusRequestTimeout, text: "the body did not come in time"}
	}
	return &failure{status: nethttp.StatusBadRequest, text: "the body is not what its Content-Encoding or Content-Length says"}
}

// batch is what a request is to write.
type batch struct {
	messages []kafka.Message
	headers  []kafka.Header // of every message
	refused  []refusal
	errors   int // refusals, those not listed included
	size     int
}

// refusal says why an event was refused.
type refusal struct {
	Line   int    `json:"line"`            // from 1, of the body
	Index  *int   `json:"index,omitempty"` // from 0, of the array
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// maxRefusals is how many are listed in an answer.
const maxRefusals = 100

func (s *Server) refuse(b *batch, line int, index *int, err error) {
	r := refusal{Line: line, Index: index, Code: "rejected", Reason: err.Error()}
	var why *event.Rejection
	switch {
	case errors.As(err, &why):
		r.Code, r.Field, r.Reason = why.Code, why.Field, why.Rule
	case errors.Is(err, decode.ErrNone):
		return
	}
	b.errors++
	s.m.rejected.WithLabelValues(r.Code).Inc()
	if len(b.refused) < maxRefusals {
		b.refused = append(b.refused, r)
	}
}

var errBatch = errors.New("http: the events of a request are too large together") // never leaves the package

// decode runs act with a decoder, of which there are few.
func (s *Server) decode(ctx context.Context, act func(*decode.Formats) *failure) *failure {
	select {
	case d := <-s.decoding:
		defer func() { s.decoding <- d }()
		return act(d)
	case <-ctx.Done():
		return &failure{nethttp.StatusServiceUnavailable, "the request was given up before its turn came", time.Second}
	}
}

// add decodes one message into b.
func (s *Server) add(d *decode.Formats, b *batch, token *Token, m decode.Message, now int64, refuse func(error)) error {
	full := false
	err := d.Lines(m, now, func(l decode.Line, err error) {
		if err != nil {
			refuse(err)
			return
		}
		if len(l.Value)+len(l.AgentID) > maxRecord {
			refuse(&event.Rejection{Code: event.CodeTooLarge, Rule: fmt.Sprintf("an event has at most %d bytes over HTTP, as it is written", maxRecord)})
			return
		}
		if b.size += len(l.Value) + len(l.AgentID); b.size > 4*s.cfg.MaxBody {
			full = true
			return
		}
		if b.headers == nil {
			b.headers = []kafka.Header{{Key: ProducerHeader, Value: []byte(token.Name)}}
		}
		value := bytes.Clone(bytes.TrimSuffix(l.Value, []byte("\n")))
		b.messages = append(b.messages, kafka.Message{Key: []byte(l.AgentID), Value: value, Headers: b.headers})
	})
	if full {
		return errBatch
	}
	if err != nil {
		refuse(err)
	}
	return nil
}

// maxRecord is what a topic takes by default, less what a batch adds. One event above it is refused rather than its
// whole request.
const maxRecord = 990_000

// ProducerHeader is the header of a record that names the token it came with.
const ProducerHeader = "producer"

// produce writes the batch and waits for the brokers.
func (s *Server) produce(ctx context.Context, b *batch, token *Token) *failure {
	token.events.pay(s.cfg.Now(), token.Limits.Events, len(b.messages)+b.errors)
	if len(b.messages) == 0 {
		return nil
	}
	// A client that hangs up does not stop half a batch.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	t0 := time.Now()
	if err := s.cfg.Producer.Produce(ctx, b.messages...); err != nil {
		if errors.Is(err, kafka.ErrTooLarge) {
			return &failure{status: nethttp.StatusRequestEntityTooLarge, text: "an event is, or the events together are, larger than the topic takes: send fewer or smaller ones; some may have been written"}
		}
		s.cfg.Log.Warn("http: the brokers did not acknowledge events; the sender is told to try again", "events", len(b.messages), "token", token.Name, "err", err)
		return &failure{nethttp.StatusServiceUnavailable, "the brokers did not acknowledge the events; send the request again, which doubles nothing", 5 * time.Second}
	}
	s.m.produce.Observe(time.Since(t0).Seconds())
	s.m.events.WithLabelValues(token.Name).Add(float64(len(b.messages)))
	return nil
}

// Run listens and serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}
