package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/astray-dev/astray/ingest/file"
	"github.com/astray-dev/astray/ingest/simulate"
)

func simulated(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := simulateCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	err := c.Execute()
	return out.String(), err
}

func TestSimulateWritesOneWorldInEveryForm(t *testing.T) {
	dir := t.TempDir()
	truth := filepath.Join(dir, "truth.json")
	world := []string{"--agents", "30", "--days", "0.5", "--seed", "4", "--start", "2026-02-01T00:00:00Z"}
	plain, err := simulated(t, append(world, "--out", "-", "--truth", truth)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"w.ndjson", "w.ndjson.gz", "w.ndjson.zst"} {
		name = filepath.Join(dir, name)
		if out, err := simulated(t, append(world, "--out", name)...); err != nil || out != "" {
			t.Fatalf("%s: %q, %v", name, out, err)
		}
		in, err := file.Open(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := got.ReadFrom(in); err != nil || in.Close() != nil || got.String() != plain {
			t.Errorf("%s: %d bytes, standard output had %d; %v", name, got.Len(), len(plain), err)
		}
	}
	text, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	var read simulate.Truth
	if err := errors.Join(json.Unmarshal(text, &all), json.Unmarshal(text, &read)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"seed", "days", "agents", "start", "end", "attacks", "lookalikes"} {
		if all[key] == nil {
			t.Errorf("the truth has no %s", key)
		}
	}
	if read.Seed != 4 || read.Agents != 30 || read.Start != 1769904000 || read.End != read.Start+43200 || len(read.Attacks) < len(simulate.Kinds()) {
		t.Errorf("%+v", read)
	}
}

func TestSimulateTellsWrongUse(t *testing.T) {
	for name, args := range map[string][]string{
		"nowhere": {}, "twice": {"--out", "a", "--truth", "a"}, "start": {"--out", "-", "--start", "yesterday"}, "few": {"--out", "-", "--agents", "2"},
		"kind": {"--out", "-", "--attacks", "arson"}, "days": {"--out", "-", "--days", "-1"},
	} {
		_, err := simulated(t, args...)
		var usage usageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v is not told as wrong use", name, err)
		}
	}
	if _, err := simulated(t, "--out", filepath.Join(t.TempDir(), "no", "where"), "--agents", "20", "--days", "0.1"); err == nil || errors.As(err, new(usageError)) {
		t.Errorf("a file that cannot be made: %v", err)
	}
}
