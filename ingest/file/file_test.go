package file_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/astray-dev/astray/ingest/file"
)

// A line is a message of any format: an export of more spans than a batch has places is one of them.
func TestLinesOfAnyFormat(t *testing.T) {
	var in strings.Builder
	const native = `{"id":"%s","time":1,"kind":"post","agent_id":"a","action":"x"}` + "\n"
	fmt.Fprintf(&in, native, "first")
	in.WriteString(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeSpans":[{"spans":[`)
	const spans = 1300
	for i := range spans {
		fmt.Fprintf(&in, `{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"%016x","startTimeUnixNano":"1","attributes":[{"key":"mcp.method.name","value":{"stringValue":"ping"}}]},`, i+1)
	}
	in.WriteString(`{"name":"plain"}]}]}]}` + "\n" + `{"resourceSpans":[]}` + "\n" + `{"class_uid":6003,"metadata":{"uid":"o"},"time":1,"ai_agent":{"uid":"a"},"api":{"operation":"x"}}` + "\nnonsense\n")
	fmt.Fprintf(&in, native, "last")
	var ids, rejected []string
	err := file.Batches(strings.NewReader(in.String()), 1_800_000_000_000_000, func(b *file.Batch) error {
		for i := range b.Events {
			ids = append(ids, b.Events[i].ID)
		}
		for _, err := range b.Rejected {
			rejected = append(rejected, err.Error())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != spans+3 || ids[0] != "first" || ids[1] != "5b8efff798038103d269b633813fc60c-0000000000000001" || ids[spans+1] != "o" || ids[spans+2] != "last" {
		t.Errorf("%d events, from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
	if len(rejected) != 1 || !strings.HasPrefix(rejected[0], "line 5: ") {
		t.Errorf("%q", rejected)
	}
}

// However the lines fall into batches, whoever decodes them: events and rejections come in the order of the file, with the
// numbers of their lines, and nothing runs on when it is over.
func TestBatchesKeepTheOrderOfTheFile(t *testing.T) {
	defer goleak.VerifyNone(t)
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"good", "good", "good", "bad", "blank", "long", "wide"}), 0, 40).Draw(t, "kinds")
		times := rapid.IntRange(1, 60).Draw(t, "times")
		var in strings.Builder
		var want []string
		line := 0
		for range times {
			for _, k := range kinds {
				line++
				switch k {
				case "good":
					fmt.Fprintf(&in, `{"id":"%d","time":1,"kind":"post","agent_id":"a","action":"x"}`+"\n", line)
					want = append(want, fmt.Sprint(line))
				case "wide":
					fmt.Fprintf(&in, `{"id":"%d","time":1,"kind":"post","agent_id":"a","action":"x","content":%q}`+"\n", line, strings.Repeat("w", 5000))
					want = append(want, fmt.Sprint(line))
				case "bad":
					in.WriteString("{\n")
					want = append(want, fmt.Sprint("line ", line))
				case "blank":
					in.WriteString(" \r\n")
				case "long":
					if line > 40 { // few of them: they are large
						in.WriteString("\n")
						continue
					}
					in.WriteString(strings.Repeat("x", 1<<20+10) + "\n")
					want = append(want, fmt.Sprint("line ", line))
				}
			}
		}
		whole := strings.TrimSuffix(in.String(), "\n") // the last line may have no end
		stopAt := rapid.IntRange(0, 2*len(want)+1).Draw(t, "stop")
		enough := errors.New("enough")
		var got, rejected []string
		err := file.Batches(iotest.HalfReader(strings.NewReader(whole)), 1_800_000_000_000_000, func(b *file.Batch) error {
			for i := range b.Events {
				got = append(got, b.Events[i].ID)
			}
			for _, err := range b.Rejected {
				name, _, _ := strings.Cut(err.Error(), ":")
				rejected = append(rejected, name)
			}
			if len(got) > stopAt {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			t.Fatal(err)
		}
		var wantEvents, wantRejected []string
		for _, w := range want {
			if strings.HasPrefix(w, "line ") {
				wantRejected = append(wantRejected, w)
			} else {
				wantEvents = append(wantEvents, w)
			}
		}
		if err != nil { // it was stopped early
			wantEvents, wantRejected = wantEvents[:len(got)], wantRejected[:len(rejected)]
		}
		if !slices.Equal(got, wantEvents) || !slices.Equal(rejected, wantRejected) {
			t.Fatalf("events %v\nwant %v\nrejected %v\nwant %v", got, wantEvents, rejected, wantRejected)
		}
	})
}

func TestAnErrorOfReadingNamesItsLine(t *testing.T) {
	in := io.MultiReader(strings.NewReader("\n\n"+`{"id":"1","time":1,"kind":"post","agent_id":"a","action":"x"}`+"\n"), iotest.ErrReader(errors.New("disk")))
	n := 0
	err := file.Batches(in, 1_800_000_000_000_000, func(b *file.Batch) error { n += len(b.Events); return nil })
	if err == nil || err.Error() != "line 4: disk" || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}
