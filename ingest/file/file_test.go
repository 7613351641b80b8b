package file_test

import (
	"fmt"
	"strings"
	"testing"

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
