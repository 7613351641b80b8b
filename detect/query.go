package detect

import (
	"fmt"
	"strings"

	"github.com/astray-dev/astray/detect/alert"
)

// query returns the events behind an alert. Ids come from outside and are quoted as ClickHouse quotes strings:
// everything but plain characters is escaped, so that they cannot leave the literal.
func query(a *alert.Alert, where string) string {
	const layout = "2006-01-02 15:04:05.000000"
	whose := ""
	switch a.EntityKind {
	case alert.KindCredential:
		whose = "credential_id = " + quote(a.EntityID)
	case alert.KindSource:
		whose = "source_ip = " + quote(a.EntityID)
	default:
		ids := make([]string, len(a.AgentIDs))
		for i, id := range a.AgentIDs {
			ids[i] = quote(id)
		}
		whose = "agent_id IN (" + strings.Join(ids, ", ") + ")"
	}
	if where != "" {
		where = " AND (" + where + ")"
	}
	return fmt.Sprintf("SELECT * FROM events WHERE %s AND time >= toDateTime64('%s', 6, 'UTC') AND time <= toDateTime64('%s', 6, 'UTC')%s ORDER BY time",
		whose, a.FirstSeen.Format(layout), a.LastSeen.Format(layout), where)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		if c < ' ' || c == '\'' || c == '\\' || c >= 0x7f {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
