package http

import (
	"bytes"
	"encoding/json"
	"errors"
	nethttp "net/http"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astray-dev/astray/ingest/decode"
)

const (
	protobuf = "application/x-protobuf"
	jsonType = "application/json"
)

// traces answers POST /v1/traces as the OTLP specification demands ("OTLP/HTTP", sections on requests and responses):
// 200 with the spans that were refused in partial_success, 400 for what cannot be decoded, and 429 and 503 for what
// can be sent again. Spans that are no agent's activity are accepted and lead to nothing.
func (s *Server) traces(w nethttp.ResponseWriter, q *request) (int, *failure) {
	if q.media != protobuf && q.media != jsonType {
		return 0, &failure{status: nethttp.StatusUnsupportedMediaType, text: "Content-Type is application/x-protobuf or application/json"}
	}
	body, f := s.body(w, q)
	if f != nil {
		return 0, f
	}
	var b batch
	if !empty(body) { // an export without a span
		f = s.decode(q.Context(), func(d *decode.Formats) *failure {
			m := decode.Message{Value: body, Headers: []decode.Header{{Key: "content-type", Value: []byte(q.media)}}}
			var whole error
			err := s.add(d, &b, q.token, m, s.cfg.Now().UnixMicro(), func(err error) {
				whole = err
				s.refuse(&b, 0, nil, err)
			})
			switch format := d.Last().Format; {
			case errors.Is(err, errBatch):
				return &failure{status: nethttp.StatusRequestEntityTooLarge, text: "the spans of the request are too large together: send fewer at once"}
			case d.Last().Envelope != "" || format != decode.OTLPJSON && format != decode.OTLPProtobuf:
				return &failure{status: nethttp.StatusBadRequest, text: "the body is no OTLP trace export"}
			case whole != nil && !errors.Is(whole, decode.ErrNone) && d.Last().Spans == 0: // of the export, not of a span
				return &failure{status: nethttp.StatusBadRequest, text: whole.Error()}
			}
			return nil
		})
	}
	if f == nil {
		f = s.produce(q.Context(), &b, q.token)
	}
	if f != nil {
		return 0, f
	}
	message := ""
	if b.errors > 0 {
		message = b.refused[0].Reason
		if b.refused[0].Field != "" {
			message = b.refused[0].Field + ": " + message
		}
	}
	writeExport(w, q.media, b.errors, message)
	return nethttp.StatusOK, nil
}

// empty reports whether the body is the message without fields in either encoding.
func empty(body []byte) bool {
	open, ok := bytes.CutPrefix(bytes.TrimSpace(body), []byte("{"))
	if !ok {
		return len(body) == 0
	}
	return string(bytes.TrimSpace(open)) == "}"
}

// writeExport writes an ExportTraceServiceResponse. partial_success is set only where spans were refused.
func writeExport(w nethttp.ResponseWriter, media string, rejected int, message string) {
	var body []byte
	if media == jsonType {
		type partial struct {
			RejectedSpans string `json:"rejectedSpans"` // 64-bit integers are strings
			ErrorMessage  string `json:"errorMessage"`
		}
		var answer struct {
			PartialSuccess *partial `json:"partialSuccess,omitempty"`
		}
		if rejected > 0 {
			answer.PartialSuccess = &partial{strconv.Itoa(rejected), message}
		}
		body, _ = json.Marshal(answer) // strings and integers cannot fail
	} else if rejected > 0 {
		var inner []byte
		inner = protowire.AppendVarint(protowire.AppendTag(inner, 1, protowire.VarintType), uint64(rejected))
		inner = protowire.AppendString(protowire.AppendTag(inner, 2, protowire.BytesType), message)
		body = protowire.AppendBytes(protowire.AppendTag(body, 1, protowire.BytesType), inner)
	}
	write(w, media, nethttp.StatusOK, body)
}

// writeStatus writes a google.rpc.Status with the message alone, in the encoding of the request.
func writeStatus(w nethttp.ResponseWriter, media string, f *failure) {
	if media != protobuf {
		body, _ := json.Marshal(struct {
			Message string `json:"message"`
		}{f.text})
		write(w, jsonType, f.status, body)
		return
	}
	write(w, protobuf, f.status, protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), f.text))
}

func write(w nethttp.ResponseWriter, media string, status int, body []byte) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // to a client that may have gone
}
