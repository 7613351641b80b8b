package simulate

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/astray-dev/astray/ingest/event"
)

// An operation is one call of a service's interface.
type operation struct {
	service, action, method string
	post                    bool
	sent, got               float64 // median bytes
	millis                  float64 // median duration
	object                  string  // what its resources are called
}

var (
	opFeed         = operation{"feed", "feed.list", "GET", false, 120, 18_000, 90, "feed"}
	opPostGet      = operation{"posts", "post.get", "GET", false, 90, 4_200, 35, "post"}
	opPostCreate   = operation{"posts", "post.create", "POST", true, 800, 300, 80, "post"}
	opRepost       = operation{"posts", "post.repost", "POST", true, 700, 300, 80, "post"}
	opComment      = operation{"posts", "comment.create", "POST", true, 350, 250, 70, "comment"}
	opVote         = operation{"votes", "vote.create", "POST", true, 60, 40, 25, "post"}
	opProfile      = operation{"profiles", "agent.get", "GET", false, 80, 1_500, 30, "agent"}
	opProfileSet   = operation{"profiles", "agent.update", "PATCH", false, 600, 200, 60, "agent"}
	opFollowers    = operation{"profiles", "follower.list", "GET", false, 90, 6_000, 60, "agent"}
	opSearch       = operation{"search", "search.query", "GET", false, 140, 9_000, 160, "search"}
	opNotice       = operation{"feed", "notification.list", "GET", false, 80, 2_500, 40, "inbox"}
	opMessage      = operation{"messages", "message.send", "POST", true, 500, 120, 60, "thread"}
	opMessages     = operation{"messages", "message.list", "GET", false, 90, 5_000, 60, "thread"}
	opHeartbeat    = operation{"status", "status.update", "PUT", false, 220, 60, 15, "status"}
	opHealth       = operation{"monitor", "endpoint.get", "GET", false, 60, 150, 25, "endpoint"}
	opToken        = operation{"tokens", "token.create", "POST", false, 200, 700, 60, "token"}
	opTokenRefresh = operation{"tokens", "token.refresh", "POST", false, 180, 600, 50, "token"}
	opTokens       = operation{"tokens", "token.list", "GET", false, 80, 1_800, 40, "token"}
	opRole         = operation{"admin", "role.grant", "POST", false, 150, 120, 60, "role"}
	opRoles        = operation{"admin", "role.list", "GET", false, 90, 2_200, 50, "role"}
	opUsers        = operation{"admin", "user.list", "GET", false, 90, 12_000, 80, "user"}
	opPolicy       = operation{"admin", "policy.update", "PUT", false, 900, 200, 70, "policy"}
	opSuspend      = operation{"admin", "user.disable", "POST", false, 90, 80, 50, "user"}
	opSecret       = operation{"vault", "secret.get", "GET", false, 80, 300, 30, "secret"}
	opSecrets      = operation{"vault", "secret.list", "GET", false, 80, 2_000, 40, "secret"}
	opHook         = operation{"webhooks", "hook.post", "POST", false, 1_400, 90, 180, "hook"}
)

// A tool is a service that integrators and cron jobs use: how it is read, how written to, and where that goes.
type tool struct {
	name        string
	list, get   operation
	put         operation
	destination string // form of the destination of what is written, empty when it stays inside
}

func newTool(service, object, put string, sent, got float64, destination string) tool {
	return tool{service,
		operation{service, object + ".list", "GET", false, 110, 3 * got, 90, object},
		operation{service, object + ".get", "GET", false, 90, got, 50, object},
		operation{service, object + "." + put, "POST", false, sent, 250, 120, object},
		destination,
	}
}

var tools = []tool{
	newTool("mail", "message", "send", 2_600, 6_000, "mailbox"),
	newTool("calendar", "meeting", "create", 700, 1_500, ""),
	newTool("crm", "contact", "update", 900, 2_400, ""),
	newTool("storage", "file", "upload", 24_000, 40_000, "bucket"),
	newTool("tickets", "ticket", "update", 800, 3_000, ""),
	newTool("payments", "invoice", "create", 900, 1_800, "account"),
	newTool("ci", "run", "create", 500, 9_000, ""),
	newTool("warehouse", "query", "create", 700, 60_000, ""),
	newTool("wiki", "page", "update", 4_000, 8_000, ""),
	newTool("webhooks", "hook", "post", 1_400, 400, "domain"),
	newTool("analytics", "report", "create", 600, 20_000, ""),
	newTool("billing", "subscription", "update", 400, 1_500, ""),
	newTool("mcp-browser", "page", "post", 900, 50_000, "domain"),
	newTool("mcp-files", "file", "write", 6_000, 12_000, ""),
	newTool("translate", "document", "create", 3_000, 3_000, ""),
	newTool("chat", "channel", "send", 400, 4_000, "channel"),
	newTool("dns", "zone", "update", 300, 900, ""),
	newTool("registry", "image", "publish", 90_000, 2_000, ""),
}

// as fills in who acts: agent a, from its usual place.
func (w *World) as(ev *event.Event, a *agent) {
	ev.AgentID, ev.AgentVersion = a.id, a.version
	if a.tells&cohortField != 0 {
		ev.Cohort = a.cohort
	}
	if a.tells&ownerField != 0 {
		ev.OwnerID = a.owner
	}
	if a.tells&credentialField != 0 {
		ev.CredentialID = a.credential
	}
	if a.tells&sourceField != 0 {
		ev.SourceIP, ev.ASN = a.address, a.network.asn
	}
	if a.tells&clientField != 0 {
		ev.UserAgent = a.client
	}
	if a.tells&sessionField != 0 {
		ev.SessionID = a.session
	}
	if len(a.principals) > 0 {
		ev.OnBehalfOf = append(ev.OnBehalfOf[:0], a.principals...)
	}
}

// call has agent a perform op on resource: outcome, sizes and time as usual, with the noise that is usual.
func (w *World) call(ev *event.Event, a *agent, r *rand.Rand, op *operation, resource string) {
	w.as(ev, a)
	ev.Kind, ev.Action, ev.Service, ev.Resource = event.APICall, op.action, op.service, resource
	if op.post {
		ev.Kind = event.Post
	}
	if a.tells&methodField != 0 {
		ev.Method = op.method
	}
	ev.Status = 200
	if op.method == "POST" {
		ev.Status = 201
	}
	if u := r.Float64(); u < a.errors {
		switch v := u / a.errors; {
		case v < 0.55:
			ev.Status = 404
		case v < 0.67:
			ev.Status = 403
		case v < 0.83:
			ev.Status = 429
		case v < 0.93:
			ev.Status = 503
		default:
			ev.Status = 500
		}
	}
	if a.tells&sizeField != 0 {
		ev.RequestBytes = int64(op.sent * math.Exp(0.6*r.NormFloat64()))
		ev.ResponseBytes = int64(op.got * math.Exp(0.8*r.NormFloat64()))
		if ev.Status >= 400 {
			ev.ResponseBytes = 80 + ev.ResponseBytes%200
		}
	}
	if a.tells&durationField != 0 {
		ev.DurationMS = math.Round(10*op.millis*math.Exp(0.5*r.NormFloat64())) / 10
	}
}

// write is what call does not know of things that others can read: the text, and the room it stands in.
func (w *World) write(ev *event.Event, community, text string) {
	ev.Community, ev.Content = community, text
	if ev.RequestBytes > 0 {
		ev.RequestBytes = int64(len(text)) + 120
	}
}

func numbered(object string, n int64) string {
	var b [40]byte
	return string(strconv.AppendInt(append(append(b[:0], object...), '/'), n, 10))
}
