package decode_test

import (
	"os"
	"testing"

	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
)

// typical is an event of the size and shape that a busy topic carries: 389 bytes, no escapes, no secrets.
const typical = `{"id":"0197f3a2c4d17b2e9f60a1b2c3d4e5f6","time":"2026-03-27T10:00:00.123456Z","kind":"api_call","agent_id":"agent-004217","action":"post.get","access":"read","method":"GET","service":"feed","resource":"post/8812345","credential_id":"key-004217-a","owner_id":"owner-21","session_id":"s-99120","cohort":"reader","source_ip":"10.21.4.217","asn":64512,"status":200,"response_bytes":1832,"x":1}`

// chatty is a post with escapes, a link and talk of tokens, as agents write them.
const chatty = `{"id":"m9600","time":"2026-03-27T09:30:57.000Z","kind":"post","agent_id":"clawnode0","action":"post.create","access":"write","service":"posts","community":"general","content":"Recent Training Runs: \"Coral\" on Apple Silicon\nThe epoch-train-20260324T084558Z and epoch-train-20260324T084714Z sessions each involved a single worker. The key to a good token budget: keep the access log short, see https://news.example.com/2026/03/27/why-agents-skim and ask @coral. They risk little; secrets stay secret."}`

func benchmark(b *testing.B, text string) {
	msg := []byte(text)
	var d decode.Decoder
	var e event.Event
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if err := d.Decode(msg, now, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("typical", func(b *testing.B) { benchmark(b, typical) })
	b.Run("post", func(b *testing.B) { benchmark(b, chatty) })
}

func BenchmarkAppendEvent(b *testing.B) {
	var d decode.Decoder
	var e event.Event
	if err := d.Decode([]byte(typical), now, &e); err != nil {
		b.Fatal(err)
	}
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = decode.AppendEvent(line[:0], &e)
	}
	b.SetBytes(int64(len(line)))
}

// BenchmarkFormats decodes the same through the recognition of formats, and messages of the other formats.
func BenchmarkFormats(b *testing.B) {
	run := func(name string, msg []byte) {
		b.Run(name, func(b *testing.B) {
			var f decode.Formats
			var events [8]event.Event
			n := 0
			next := func() *event.Event {
				n++
				return &events[n-1]
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(msg)))
			for b.Loop() {
				n = 0
				if err := f.Decode(decode.Message{Value: msg}, now, next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "events/op")
		})
	}
	run("native", []byte(typical))
	for _, name := range []string{"ocsf_ai_operation", "otlp_genai_agent", "cloudevents_native"} {
		msg, err := os.ReadFile("testdata/formats/" + name + ".json")
		if err != nil {
			b.Fatal(err)
		}
		run(name, msg)
	}
	run("otlp_protobuf", marshal(b, agentExport()))
}
