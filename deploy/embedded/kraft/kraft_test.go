package kraft

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAreThoseOfTheLock(t *testing.T) {
	dir := t.TempDir()
	for line := range strings.Lines(lock) {
		if err := os.WriteFile(filepath.Join(dir, strings.Fields(line)[0]), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(dir); err == nil || !strings.Contains(err.Error(), "kraft.lock says") {
		t.Errorf("other contents: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "0.jar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(dir); err == nil || !strings.Contains(err.Error(), "0.jar is not in kraft.lock") {
		t.Errorf("a file too many: %v", err)
	}
	if err := check(t.TempDir()); err == nil || !strings.Contains(err.Error(), "did not come") {
		t.Errorf("no files: %v", err)
	}
}
