package decode

import (
	"math"
	"strconv"
	"strings"

	"github.com/astray-dev/astray/ingest/event"
)

// OCSF 1.9, class API Activity (6003) with the profile ai_operation, as schema.ocsf.io describes it. The names of the
// paths are the schema's; docs/formats/ocsf.md is the mapping for people, and a test holds the two together.

// apiActivity is the class_uid of API Activity.
const apiActivity = 6003

// source says where a field of the contract comes from: the first path that is there and not empty.
type source struct {
	field string
	paths []string
}

// ocsfTexts maps the text fields, in the contract's order. Where an agent acts, the user beside it is whom it acts for.
func ocsfTexts() []source {
	return []source{
		{"id", []string{"metadata.uid", "api.request.uid"}},
		{"agent_id", []string{"ai_agent.uid", "ai_agent.name", "actor.app_uid", "actor.app_name", "actor.user.uid", "actor.user.name"}},
		{"action", []string{"api.operation"}},
		{"method", []string{"http_request.http_method"}},
		{"service", []string{"api.service.name", "api.service.uid", "dst_endpoint.svc_name", "dst_endpoint.hostname"}},
		{"resource", []string{"resources.0.uid", "resources.0.name", "http_request.url.path", "http_request.url.url_string"}},
		{"destination", []string{"dst_endpoint.domain", "dst_endpoint.hostname", "dst_endpoint.ip", "http_request.url.hostname"}},
		{"credential_id", []string{"api.token.uid", "actor.session.credential_uid", "actor.user.credential_uid"}},
		{"owner_id", []string{"actor.user.org.uid", "actor.user.org.name", "actor.user.account.uid", "actor.user.account.name"}},
		{"session_id", []string{"ai_agent.instance_uid", "message_context.uid", "actor.session.uid"}},
		{"trace_id", []string{"trace.uid", "metadata.correlation_uid"}},
		{"agent_version", []string{"ai_agent.version", "ai_agent.ai_model.version", "ai_agent.ai_model.name"}},
		{"cohort", []string{"metadata.tenant_uid"}},
		{"source_ip", []string{"src_endpoint.ip"}},
		{"user_agent", []string{"http_request.user_agent"}},
		{"content", []string{"message_context.response_text"}},
	}
}

// ocsfNumbers maps the integers.
func ocsfNumbers() []source {
	return []source{
		{"time", []string{"time"}},
		{"asn", []string{"src_endpoint.autonomous_system.number"}},
		{"status", []string{"http_response.code", "http_response.status_code", "api.response.code"}},
		{"request_bytes", []string{"http_request.length", "http_request.body_length"}},
		{"response_bytes", []string{"http_response.length", "http_response.body_length"}},
		{"duration_ms", []string{"http_response.latency", "trace.span.duration", "trace.duration"}},
	}
}

// textField is the contract's text field of that name, nil if there is none.
func textField(e *event.Event, field string) *string {
	switch field {
	case "id":
		return &e.ID
	case "agent_id":
		return &e.AgentID
	case "action":
		return &e.Action
	case "method":
		return &e.Method
	case "service":
		return &e.Service
	case "resource":
		return &e.Resource
	case "destination":
		return &e.Destination
	case "credential_id":
		return &e.CredentialID
	case "owner_id":
		return &e.OwnerID
	case "session_id":
		return &e.SessionID
	case "trace_id":
		return &e.TraceID
	case "agent_version":
		return &e.AgentVersion
	case "cohort":
		return &e.Cohort
	case "source_ip":
		return &e.SourceIP
	case "user_agent":
		return &e.UserAgent
	case "content":
		return &e.Content
	}
	return nil
}

// missing rejects a message that lacks what a field is made of.
func missing(field string, paths []string) error {
	return reject(event.CodeMissingField, field, "is required, from "+strings.Join(paths, " or "))
}

func (f *Formats) ocsf(value []byte) error {
	t := &f.tree
	defer t.release()
	if err := t.parse(value, event.MaxMessage); err != nil {
		return err
	}
	const root = 1
	class, ok, err := t.integerAt(root, "class_uid", 0, math.MaxInt32, false, "class_uid")
	if err != nil {
		return err
	}
	if !ok || class != apiActivity {
		return reject(event.CodeUnsupported, "class_uid", "is 6003, API Activity")
	}
	e := f.take()
	e.Reset()
	e.Kind = event.APICall
	for _, m := range ocsfTexts() {
		s, err := t.textAt(root, m.field, m.paths...)
		if err != nil {
			return err
		}
		switch {
		case s == "" && m.field == "id" && f.outer != nil:
			f.outer.lend(e, ^uint64(1<<fID))
		case s == "" && (m.field == "id" || m.field == "agent_id" || m.field == "action"):
			return missing(m.field, m.paths)
		default:
			*textField(e, m.field) = s
		}
	}
	for _, m := range ocsfNumbers() {
		low, high := int64(0), int64(math.MaxInt64)
		switch m.field {
		case "time":
			low, high = math.MinInt64/1000, math.MaxInt64/1000
		case "asn":
			high = math.MaxUint32
		case "status":
			low, high = math.MinInt32, math.MaxInt32
		}
		n, ok, err := t.integerAt(root, m.field, low, high, false, m.paths...)
		if err != nil {
			return err
		}
		switch m.field {
		case "time":
			if !ok {
				return missing(m.field, m.paths)
			}
			e.Time = n * 1000
		case "asn":
			e.ASN = uint32(n)
		case "status":
			e.Status = int32(n)
		case "request_bytes":
			e.RequestBytes = n
		case "response_bytes":
			e.ResponseBytes = n
		case "duration_ms":
			e.DurationMS = float64(n)
		}
	}
	if err := f.ocsfAccess(e); err != nil {
		return err
	}
	if err := f.ocsfChain(e); err != nil {
		return err
	}
	if f.report.Producer == "" {
		if n := t.at(root, "metadata.product.name"); n != 0 {
			f.report.Producer = t.nodes[n].text
		}
	}
	var refused error
	var named keySet
	t.leaves(root, make([]byte, 0, 128), func(path []byte, x *node) bool {
		if refused = f.charge(len(path) + len(x.text)); refused != nil {
			return false
		}
		if key := string(path); !t.dots || named.add(key) {
			e.Labels = append(e.Labels, event.Label{Key: key, Value: x.text})
		}
		return true
	})
	if refused != nil {
		return refused
	}
	return f.end(e)
}

// ocsfAccess derives the class of access from activity_id, and takes the destination only of what writes.
func (f *Formats) ocsfAccess(e *event.Event) error {
	activity, _, err := f.tree.integerAt(1, "access", 0, math.MaxInt32, false, "activity_id")
	if err != nil {
		return err
	}
	switch activity {
	case 1, 3: // Create, Update
		e.Access = event.Write
	case 2: // Read
		e.Access = event.Read
	case 4: // Delete
		e.Access = event.Delete
	default: // Unknown, Other: by method and operation
		e.Access = event.DeriveAccess(e.Method, e.Action)
	}
	if e.Access == event.Read {
		e.Destination = ""
	}
	// A code of the source counts as a status where it is a number.
	if n := f.tree.at(1, "status_code"); n != 0 && e.Status == 0 {
		if code, err := strconv.ParseInt(f.tree.nodes[n].text, 10, 32); err == nil {
			e.Status, f.tree.nodes[n].used = int32(code), true
		}
	}
	return nil
}

// ocsfChain fills on_behalf_of: the user beside an agent or application, then who invoked them.
func (f *Formats) ocsfChain(e *event.Event) error {
	for _, paths := range [...][]string{{"actor.user.uid", "actor.user.name"}, {"actor.invoked_by"}} {
		s, err := f.tree.textAt(1, "on_behalf_of", paths...)
		if err != nil {
			return err
		}
		if s != "" && s != e.AgentID {
			e.OnBehalfOf = append(e.OnBehalfOf, s)
		}
	}
	return nil
}
