package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astray-dev/astray/ingest/http"
	"github.com/astray-dev/astray/ingest/kafka"
)

// Receive is where events are taken over HTTP, for those who have no producer; nowhere when Listen is empty.
type Receive struct {
	Listen               string
	TokensFile           string
	AllowUnauthenticated bool // on loopback only
	CertFile, KeyFile    string
	Limits               http.Limits // of tokens that have none of their own
	MaxBody, MaxRequests int
}

// receive takes events and writes them to topic until stop is called, which lets requests under way end.
func receive(ctx context.Context, cfg Receive, bus kafka.Config, topic string, log *slog.Logger, reg prometheus.Registerer) (stop func() error, err error) {
	var tokens *http.Tokens
	if cfg.TokensFile != "" {
		if tokens, err = http.ReadTokens(cfg.TokensFile, cfg.Limits); err != nil {
			return nil, err
		}
	}
	producer, err := kafka.NewProducer(bus, topic)
	if err != nil {
		return nil, err
	}
	server, err := http.New(http.Config{
		Producer: producer, Tokens: tokens, AllowUnauthenticated: cfg.AllowUnauthenticated, Listen: cfg.Listen, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile,
		MaxBody: cfg.MaxBody, MaxRequests: cfg.MaxRequests, Log: log, Registry: reg,
	})
	if err != nil {
		return nil, errors.Join(err, producer.Close())
	}
	listener, err := server.Listen()
	if err != nil {
		return nil, errors.Join(err, producer.Close())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchTokens(ctx, cfg, server, log)
	}()
	go func() {
		err := server.Serve(ctx, listener)
		if err != nil {
			log.Error("app: events are not taken over HTTP any more", "err", err)
		}
		ended <- err
	}()
	return func() error {
		cancel()
		<-watched
		return errors.Join(<-ended, producer.Close())
	}, nil
}

// watchTokens reads the file of tokens again when it has changed, so that a token is replaced without a restart. A file
// that is wrong changes nothing.
func watchTokens(ctx context.Context, cfg Receive, server *http.Server, log *slog.Logger) {
	if cfg.TokensFile == "" {
		return
	}
	state := func() (time.Time, int64) {
		info, err := os.Stat(cfg.TokensFile)
		if err != nil {
			return time.Time{}, 0
		}
		return info.ModTime(), info.Size()
	}
	at, size := state()
	tick := time.NewTicker(tokensPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		newAt, newSize := state()
		if newAt.Equal(at) && newSize == size {
			continue
		}
		at, size = newAt, newSize
		tokens, err := http.ReadTokens(cfg.TokensFile, cfg.Limits)
		if err != nil {
			log.Error("app: receive.tokens_file has changed and is not read; the tokens before it count still", "err", err)
			continue
		}
		server.SetTokens(tokens)
		log.Info("app: receive.tokens_file has changed and was read")
	}
}

// tokensPoll is how often the file of tokens is looked at.
const tokensPoll = time.Second
