package decode

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/astray-dev/astray/ingest/event"
)

// AppendEvent appends e as one line of the native shape, newline included. Fields at their zero value are left
// out, except the required ones. Decoding the line gives e again, save what the shape does not carry: Secrets
// are found anew, and invalid UTF-8 has become U+FFFD.
func AppendEvent(dst []byte, e *event.Event) []byte {
	dst = appendText(append(dst, `{"id":`...), e.ID)
	dst = appendTime(append(dst, `,"time":`...), e.Time)
	dst = append(append(append(dst, `,"kind":"`...), e.Kind.String()...), '"')
	dst = appendText(append(dst, `,"agent_id":`...), e.AgentID)
	dst = appendText(append(dst, `,"action":`...), e.Action)
	if e.Access != event.AccessUnknown {
		dst = append(append(append(dst, `,"access":"`...), e.Access.String()...), '"')
	}
	dst = appendField(dst, `,"method":`, e.Method)
	dst = appendField(dst, `,"service":`, e.Service)
	dst = appendField(dst, `,"resource":`, e.Resource)
	dst = appendField(dst, `,"destination":`, e.Destination)
	dst = appendField(dst, `,"credential_id":`, e.CredentialID)
	dst = appendField(dst, `,"owner_id":`, e.OwnerID)
	dst = appendTexts(dst, `,"on_behalf_of":[`, e.OnBehalfOf)
	dst = appendField(dst, `,"session_id":`, e.SessionID)
	dst = appendField(dst, `,"trace_id":`, e.TraceID)
	dst = appendField(dst, `,"agent_version":`, e.AgentVersion)
	dst = appendField(dst, `,"cohort":`, e.Cohort)
	dst = appendField(dst, `,"source_ip":`, e.SourceIP)
	dst = appendInteger(dst, `,"asn":`, int64(e.ASN))
	dst = appendField(dst, `,"user_agent":`, e.UserAgent)
	dst = appendInteger(dst, `,"status":`, int64(e.Status))
	dst = appendInteger(dst, `,"request_bytes":`, e.RequestBytes)
	dst = appendInteger(dst, `,"response_bytes":`, e.ResponseBytes)
	if d := e.DurationMS; d > 0 && !math.IsInf(d, 0) {
		dst = strconv.AppendFloat(append(dst, `,"duration_ms":`...), d, 'g', -1, 64)
	}
	dst = appendField(dst, `,"community":`, e.Community)
	dst = appendField(dst, `,"reply_to":`, e.ReplyTo)
	dst = appendTexts(dst, `,"mentions":[`, e.Mentions)
	dst = appendField(dst, `,"content":`, e.Content)
	for i, l := range e.Labels {
		sep := `,`
		if i == 0 {
			sep = `,"labels":{`
		}
		dst = appendText(append(appendText(append(dst, sep...), l.Key), ':'), l.Value)
	}
	if len(e.Labels) > 0 {
		dst = append(dst, '}')
	}
	return append(dst, '}', '\n')
}

func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendText(append(dst, name...), value)
}

func appendInteger(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), value, 10)
}

func appendTexts(dst []byte, name string, values []string) []byte {
	for i, v := range values {
		if i == 0 {
			dst = append(dst, name...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendText(dst, v)
	}
	if len(values) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

func appendTime(dst []byte, micros int64) []byte {
	t := time.UnixMicro(micros).UTC()
	return append(t.AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
