package detect

import (
	"strings"
	"testing"

	"github.com/astray-dev/astray/detect/alert"
)

// A detector's condition narrows the events of the entity and of the time; it never widens them.
func TestQueryKeepsItsConditionInside(t *testing.T) {
	a := &alert.Alert{EntityKind: alert.KindSource, EntityID: "10.0.0.1"}
	if q := query(a, "destination != '' OR request_bytes > 0"); !strings.Contains(q, " AND (destination != '' OR request_bytes > 0) ORDER") {
		t.Error(q)
	}
	if q := query(a, ""); !strings.Contains(q, "'UTC') ORDER BY time") || !strings.Contains(q, "source_ip = '10.0.0.1' AND") {
		t.Error(q)
	}
}
