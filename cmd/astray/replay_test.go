package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/detect"
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
