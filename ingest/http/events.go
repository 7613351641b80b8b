package http

import (
	"bytes"
	"encoding/json"
	"errors"
	nethttp "net/http"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

// events answers POST /v1/events: 202 when what was not refused is acknowledged, 400 when all was refused.
func (s *Server) events(w nethttp.ResponseWriter, q *request) (int, *failure) {
	lines := false
	switch q.media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		lines = true
	case "application/json", "application/cloudevents+json", "application/cloudevents-batch+json":
	default:
		return 0, &failure{status: nethttp.StatusUnsupportedMediaType, text: "Content-Type is application/x-ndjson or application/json"}
	}
	body, f := s.body(w, q)
	if f != nil {
		return 0, f
	}
	var b batch
	now := s.cfg.Now().UnixMicro()
	f = s.decode(q.Context(), func(d *decode.Formats) *failure {
		one := func(line int, index *int, value []byte) error {
			if len(value) > event.MaxMessage {
				s.refuse(&b, line, index, &event.Rejection{Code: event.CodeTooLarge, Rule: "a message is at most 1 MiB"})
				return nil
			}
			return s.add(d, &b, q.token, decode.Message{Value: value}, now, func(err error) { s.refuse(&b, line, index, err) })
		}
		var err error
		switch trimmed := bytes.TrimSpace(body); {
		case lines:
			err = eachLine(body, func(n int, text []byte) error { return one(n, nil, text) })
		case len(trimmed) > 0 && trimmed[0] == '[':
			err = decode.Elements(body, func(index, line int, value []byte) error { return one(line+1, &index, value) })
		case len(trimmed) > 0:
			err = one(1+bytes.Count(body[:bytes.Index(body, trimmed)], []byte("\n")), nil, trimmed)
		}
		var r *event.Rejection
		switch {
		case errors.Is(err, errBatch):
			return &failure{status: nethttp.StatusRequestEntityTooLarge, text: "the events of the request are too large together: send fewer at once"}
		case errors.As(err, &r):
			// An array that breaks off: nothing is taken, for nobody knows what it was to be.
			return &failure{status: nethttp.StatusBadRequest, text: r.Error()}
		case err != nil:
			return &failure{status: nethttp.StatusInternalServerError, text: "the request could not be decoded"}
		}
		return nil
	})
	if f == nil {
		f = s.produce(q.Context(), &b, q.token)
	}
	if f != nil {
		return 0, f
	}
	status := nethttp.StatusAccepted
	if len(b.messages) == 0 && b.errors > 0 {
		status = nethttp.StatusBadRequest
	}
	writeJSON(w, status, struct {
		Accepted int       `json:"accepted"`
		Rejected int       `json:"rejected"`
		Errors   []refusal `json:"errors,omitempty"`
	}{len(b.messages), b.errors, b.refused})
	return status, nil
}

// eachLine calls use for every line that is not blank, counted from 1.
func eachLine(text []byte, use func(n int, line []byte) error) error {
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := use(n, line); err != nil {
			return err
		}
	}
	return nil
}

func writeError(w nethttp.ResponseWriter, f *failure) {
	writeJSON(w, f.status, struct {
		Error string `json:"error"`
	}{f.text})
}

func writeJSON(w nethttp.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = nethttp.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // to a client that may have gone
}
