package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/ocsf"
)

// A score line is what encoding/json makes of the same fields, whatever the text.
func TestScoreLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\/ 0-9]{0,12}`)).Draw(t, "id")
		s := detect.Score{Score: rapid.SampledFrom([]float64{0, 1.5, 300, 12.345678901}).Draw(t, "score"), Detector: "scraping", EntityKind: "agent", EntityID: id}
		line, err := appendScore(nil, id, s)
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"id":` + string(quoted) + `,"score":`
		if !strings.HasPrefix(string(line), want) || !strings.HasSuffix(string(line), `,"entity_id":`+string(quoted)+"}\n") || !json.Valid(line) {
			t.Fatalf("%s", line)
		}
	})
}

// The same alerts come in either shape, and twice the same.
func TestReplayWritesFindings(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) []string {
		t.Helper()
		var out, errs strings.Builder
		if code := execute(args, strings.NewReader(""), &out, &errs); code != 0 {
			t.Fatal(args, code, errs.String())
		}
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	events := filepath.Join(dir, "events.ndjson")
	run("simulate", "--agents", "40", "--days", "3", "--seed", "5", "--out", events)
	native := run("replay", "--events", events, "--alerts", "-")
	findings := run("replay", "--events", events, "--alerts", "-", "--alerts-format", "ocsf")
	if len(native) == 0 || len(native) != len(findings) || !slices.Equal(findings, run("replay", "--events", events, "--alerts", "-", "--alerts-format", "ocsf")) {
		t.Fatalf("%d alerts, %d findings", len(native), len(findings))
	}
	for i := range native {
		var a alert.Alert
		var f ocsf.Finding
		if err := errors.Join(json.Unmarshal([]byte(native[i]), &a), json.Unmarshal([]byte(findings[i]), &f)); err != nil {
			t.Fatal(err)
		}
		if f.FindingInfo.UID != a.ID || f.ClassUID != 2004 || f.Time != a.Time.UnixMilli() || f.Remediation == nil || len(f.Evidences) != len(a.Evidence) {
			t.Errorf("%s\n%s", native[i], findings[i])
		}
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// An output that fails ends the run with its error, and never hangs it.
func TestAFullDiskEndsTheScores(t *testing.T) {
	s := newScoreWriter(bufio.NewWriterSize(&failing{after: 1000}, 100))
	var err error
	for i := 0; i < 10_000 && err == nil; i++ {
		err = s.write(append(s.batch(), scored{"an-id", detect.Score{}}))
	}
	if again := s.close(); err == nil || err.Error() != "disk full" || again == nil {
		t.Errorf("%v, %v", err, again)
	}
}
