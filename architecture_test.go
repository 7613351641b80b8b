// Package astray_test holds what is true of the repository as a whole.
package astray_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// Dependencies point one way: cmd to ingest and detect, detect to models; models stand on the standard library
// and gonum alone; nothing in detect knows a broker or a database.
func TestDependenciesPointOneWay(t *testing.T) {
	const module = "github.com/astray-dev/astray/"
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	under := func(path string, rooms ...string) bool {
		for _, r := range rooms {
			if path == r || strings.HasPrefix(path, r+"/") {
				return true
			}
		}
		return false
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		self := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			room, ours := strings.CutPrefix(imp, module)
			outside := strings.Contains(strings.Split(imp, "/")[0], ".") && !ours
			bad := false
			switch {
			case under(self, "models"):
				bad = ours && !under(room, "models") || outside && !strings.HasPrefix(imp, "gonum.org/v1/gonum")
			case under(self, "detect/alert", "detect/baseline"):
				bad = ours || outside
			case under(self, "detect/triage"):
				bad = ours && !under(room, "detect/alert") || outside
			case under(self, "detect"):
				bad = ours && !under(room, "detect", "models", "ingest/event") ||
					strings.Contains(imp, "kafka") || strings.Contains(strings.ToLower(imp), "clickhouse")
			case under(self, "ingest"):
				bad = ours && !under(room, "ingest", "detect/alert", "detect/baseline", "detect/triage")
			}
			if bad {
				t.Errorf("%s must not import %s", self, imp)
			}
		}
		for _, word := range []string{"util", "common", "helpers", "types", "base"} {
			if strings.HasSuffix(self, "/"+word) {
				t.Errorf("a package named %s says nothing: %s", word, self)
			}
		}
	}
	if seen < 8 {
		t.Fatalf("looked at only %d packages", seen)
	}
}
