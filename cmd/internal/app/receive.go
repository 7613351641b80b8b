package app

import (
	"context"
	"errors"
	"log/slog"

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
	go func() {
		err := server.Serve(ctx, listener)
		if err != nil {
			log.Error("app: events are not taken over HTTP any more", "err", err)
		}
		ended <- err
	}()
	return func() error {
		cancel()
		return errors.Join(<-ended, producer.Close())
	}, nil
}
