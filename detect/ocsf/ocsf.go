// Package ocsf writes alerts as OCSF Detection Findings, for tools that read the Open Cybersecurity Schema Framework.
//
// The shape is that of the schema at 1.9.0-dev: events/findings/detection_finding.json and the objects it names. A test
// holds every attribute against their rules. docs/formats/ocsf-findings.md says which is made of what.
package ocsf

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/astray-dev/astray/detect/alert"
)

// Version of the schema.
const Version = "1.9.0"

const (
	category  = 2
	class     = 2004
	maxAgents = 50  // resources; the number of all is in unmapped
	maxText   = 256 // characters of a text from outside
	maxReason = 1000
	maxQuery  = 4096
)

// Context is what an alert does not say of itself.
type Context struct {
	Product string // version of Astray
	Next    string // what to check next
	// State is "open", "acknowledged" or "closed", "" where nobody looks after alerts; Verdict that of a closed one.
	State, Verdict string
	Suppressed     bool
}

// Finding is a Detection Finding, class 2004.
type Finding struct {
	ActivityID   int        `json:"activity_id"`
	ActivityName string     `json:"activity_name"`
	CategoryUID  int        `json:"category_uid"`
	CategoryName string     `json:"category_name"`
	ClassUID     int        `json:"class_uid"`
	ClassName    string     `json:"class_name"`
	TypeUID      int        `json:"type_uid"`
	TypeName     string     `json:"type_name"`
	Time         int64      `json:"time"` // milliseconds, as all times here
	StartTime    int64      `json:"start_time"`
	EndTime      int64      `json:"end_time"`
	Count        int64      `json:"count"`
	Message      string     `json:"message"`
	SeverityID   int        `json:"severity_id"`
	Severity     string     `json:"severity"`
	ConfidenceID int        `json:"confidence_id"`
	Confidence   string     `json:"confidence"`
	Score        int        `json:"confidence_score"` // percent
	StatusID     int        `json:"status_id"`
	Status       string     `json:"status"`
	IsAlert      bool       `json:"is_alert"`
	Metadata     Metadata   `json:"metadata"`
	FindingInfo  Info       `json:"finding_info"`
	Evidences    []Evidence `json:"evidences"`
	Analyses     []Analysis `json:"anomaly_analyses"`
	Resources    []Resource `json:"resources"`
	Observables  []Observed `json:"observables"`
	Remediation  *Remedy    `json:"remediation,omitempty"`
	Unmapped     Unmapped   `json:"unmapped"`
}

// Metadata is the object metadata.
type Metadata struct {
	Version string  `json:"version"`
	UID     string  `json:"uid"`
	LogName string  `json:"log_name"`
	Product Product `json:"product"`
}

// Product is the object product.
type Product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version,omitempty"`
}

// Info is the object finding_info.
type Info struct {
	UID           string    `json:"uid"`
	Title         string    `json:"title"`
	Desc          string    `json:"desc"`
	CreatedTime   int64     `json:"created_time"`
	FirstSeenTime int64     `json:"first_seen_time"`
	LastSeenTime  int64     `json:"last_seen_time"`
	Types         []string  `json:"types"`
	Analytic      Analytic  `json:"analytic"`
	Attacks       []Attack  `json:"attacks,omitempty"`
	Tags          []Tag     `json:"tags,omitempty"`
	Related       []Related `json:"related_events,omitempty"`
	RelatedCount  int64     `json:"related_events_count"`
}

// Analytic is the object analytic.
type Analytic struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	TypeID  int    `json:"type_id"`
	Type    string `json:"type"`
	Version string `json:"version"`
}

// Attack is the object attack.
type Attack struct {
	Technique    *Technique `json:"technique,omitempty"`
	SubTechnique *Technique `json:"sub_technique,omitempty"`
	Version      string     `json:"version"`
}

// Technique is the object technique, or sub_technique.
type Technique struct {
	UID  string `json:"uid"`
	Name string `json:"name,omitempty"`
}

// Tag is the object key_value_object.
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Related is the object related_event.
type Related struct {
	UID string `json:"uid"`
}

// Evidence is the object evidences: a feature as the detector saw it.
type Evidence struct {
	Name string         `json:"name"`
	UID  string         `json:"uid"`
	Data alert.Evidence `json:"data"`
}

// Analysis is the object anomaly_analysis.
type Analysis struct {
	Targets   []Target      `json:"analysis_targets"`
	Anomalies []Observation `json:"anomalies"`
	Baselines []Observation `json:"baselines"`
}

// Target is the object analysis_target.
type Target struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Observation is the object anomaly, or baseline.
type Observation struct {
	Parameter    string  `json:"observation_parameter"`
	Type         string  `json:"observation_type"`
	Observations []Value `json:"observations"`
	Pattern      string  `json:"observed_pattern"`
}

// Value is the object observation.
type Value struct {
	Value string `json:"value"`
}

// Resource is the object resource_details.
type Resource struct {
	UID    string `json:"uid"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	RoleID int    `json:"role_id"`
	Role   string `json:"role"`
}

// Observed is the object observable.
type Observed struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

// Remedy is the object remediation.
type Remedy struct {
	Desc string `json:"desc"`
}

// Unmapped is what the schema has no place for.
type Unmapped struct {
	Score           float64 `json:"score"`
	PValue          float64 `json:"p_value"`
	Agents          int     `json:"agents"`
	Query           string  `json:"query,omitempty"` // left out when it is long
	BaselineVersion string  `json:"baseline_version"`
	Verdict         string  `json:"verdict,omitempty"`
}

// New makes a finding of an alert.
func New(a *alert.Alert, c Context) *Finding {
	f := &Finding{
		ActivityID: 1, ActivityName: "Create", CategoryUID: category, CategoryName: "Findings", ClassUID: class, ClassName: "Detection Finding",
		Time: ms(a.Time), StartTime: ms(a.FirstSeen), EndTime: ms(a.LastSeen), Count: max(a.EventCount, 1), Message: clean(a.Title, maxText),
		StatusID: 1, Status: "New", IsAlert: true,
		Metadata: Metadata{Version: Version, UID: a.ID, LogName: "agent.alerts", Product: Product{"Astray", "Astray", c.Product}},
		FindingInfo: Info{UID: a.ID, Title: clean(a.Title, maxText), Desc: clean(a.Reason, maxReason), CreatedTime: ms(a.Time), FirstSeenTime: ms(a.FirstSeen), LastSeenTime: ms(a.LastSeen),
			Types: []string{a.Detector}, Analytic: Analytic{a.Detector, a.Detector, 2, "Behavioral", a.DetectorVersion}, RelatedCount: a.EventCount},
		Evidences: []Evidence{}, Analyses: []Analysis{}, Resources: []Resource{}, Observables: []Observed{},
		Unmapped: Unmapped{a.Score, a.PValue, len(a.AgentIDs), a.Query, a.BaselineVersion, c.Verdict},
	}
	switch {
	case c.State == "closed":
		f.ActivityID, f.ActivityName, f.StatusID, f.Status, f.IsAlert = 3, "Close", 4, "Resolved", false
	case c.Suppressed:
		f.StatusID, f.Status, f.IsAlert = 3, "Suppressed", false
	case c.State == "acknowledged":
		f.ActivityID, f.ActivityName, f.StatusID, f.Status = 2, "Update", 2, "In Progress"
	}
	if len(f.Unmapped.Query) > maxQuery {
		f.Unmapped.Query = ""
	}
	f.TypeUID, f.TypeName = class*100+f.ActivityID, "Detection Finding: "+f.ActivityName
	f.SeverityID, f.Severity = severity(a.Severity)
	f.Score = int(math.Round(100 * min(max(a.Confidence, 0), 1)))
	switch {
	case f.Score < 60:
		f.ConfidenceID, f.Confidence = 1, "Low"
	case f.Score < 85:
		f.ConfidenceID, f.Confidence = 2, "Medium"
	default:
		f.ConfidenceID, f.Confidence = 3, "High"
	}
	for _, t := range a.Techniques {
		if t.Framework != "ATT&CK" && t.Framework != "ATLAS" {
			f.FindingInfo.Tags = append(f.FindingInfo.Tags, Tag{t.Framework + " " + t.Version, t.ID + " " + t.Name})
			continue
		}
		x := Attack{Version: t.Framework + " " + t.Version, Technique: &Technique{t.ID, t.Name}}
		if parent, ok := parent(t.ID); ok {
			x.Technique, x.SubTechnique = &Technique{UID: parent}, x.Technique
		}
		f.FindingInfo.Attacks = append(f.FindingInfo.Attacks, x)
	}
	for _, id := range a.EventIDs {
		f.FindingInfo.Related = append(f.FindingInfo.Related, Related{clean(id, maxText)})
	}
	if c.Next != "" {
		f.Remediation = &Remedy{c.Next}
	}
	f.explain(a)
	f.involve(a)
	return f
}

// explain puts the evidence in, once as it is and once as anomalies against a baseline.
func (f *Finding) explain(a *alert.Alert) {
	x := Analysis{Targets: []Target{{clean(a.EntityID, maxText), a.EntityKind}}, Baselines: []Observation{}}
	for _, e := range a.Evidence {
		window := fmt.Sprintf("in %d s", e.WindowSeconds)
		f.Evidences = append(f.Evidences, Evidence{e.Feature, fmt.Sprintf("%s/%d", e.Feature, e.WindowSeconds), e})
		x.Anomalies = append(x.Anomalies, Observation{e.Feature, window, []Value{{number(e.Observed)}},
			fmt.Sprintf("%s %s, p = %.2g", number(e.Observed), window, e.PValue)})
		x.Baselines = append(x.Baselines, Observation{e.Feature, window, []Value{{number(e.Expected)}},
			fmt.Sprintf("%s expected %s, 95 %%: %s to %s", number(e.Expected), window, number(e.Lower), number(e.Upper))})
	}
	if len(x.Anomalies) > 0 {
		f.Analyses = append(f.Analyses, x)
	}
}

// involve names the agents, and what the alert is about when it is no agent.
func (f *Finding) involve(a *alert.Alert) {
	for i, id := range a.AgentIDs[:min(len(a.AgentIDs), maxAgents)] {
		id = clean(id, maxText)
		f.Resources = append(f.Resources, Resource{id, id, "AI Agent", 2, "Actor"})
		f.Observables = append(f.Observables, Observed{fmt.Sprintf("resources[%d].uid", i), 10, "Resource UID", id})
	}
	if a.EntityKind == alert.KindAgent && len(a.AgentIDs) > 0 {
		return
	}
	id := clean(a.EntityID, maxText)
	o := Observed{fmt.Sprintf("resources[%d].uid", len(f.Resources)), 99, a.EntityKind, id}
	switch a.EntityKind {
	case alert.KindCredential:
		o.TypeID, o.Type = 19, "User Credential ID"
	case alert.KindSource:
		o.TypeID, o.Type = 2, "IP Address"
	}
	f.Resources = append(f.Resources, Resource{id, id, a.EntityKind, 4, "Related"})
	f.Observables = append(f.Observables, o)
}

func severity(s alert.Severity) (int, string) {
	switch s {
	case alert.Low:
		return 2, "Low"
	case alert.Medium:
		return 3, "Medium"
	case alert.High:
		return 4, "High"
	case alert.Critical:
		return 5, "Critical"
	}
	return 0, "Unknown"
}

// parent is the technique that a sub-technique belongs to: T1021 of T1021.007, AML.T0091 of AML.T0091.000.
func parent(id string) (string, bool) {
	i := strings.LastIndexByte(id, '.')
	if i < 0 || !strings.Contains(id[:i], "T") {
		return "", false
	}
	return id[:i], true
}

func ms(t time.Time) int64 { return max(t.UnixMilli(), 0) }

func number(x float64) string { return fmt.Sprintf("%.6g", x) }

// clean is text from outside made safe to show: on one line, without control characters and those that turn the direction
// of writing, and cut to n characters.
func clean(s string, n int) string {
	var b strings.Builder
	i := 0
	for _, r := range s {
		if i++; i > n {
			b.WriteString("…")
			break
		}
		if r == ' ' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\u%04x", r)
	}
	return b.String()
}
