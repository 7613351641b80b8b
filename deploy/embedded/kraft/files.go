package kraft

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed pom.xml
var pom []byte

//go:embed kraft.lock
var lock string

// copier is the Maven plug-in goal that lays a pom's dependencies into a directory.
const copier = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// ErrNotHere says that a broker cannot be run on this machine: there is no Java, or nothing to fetch the broker with.
var ErrNotHere = errors.New("no broker can be run here")

// Files returns the directory of the broker's files, fetching them through mvn when they are not in the cache yet (the
// user's cache directory when empty). What is fetched must be the files of kraft.lock, each with its hash. Several processes may ask
// at once.
func Files(ctx context.Context, cache string) (string, error) {
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache directory: %w", err)
		}
		cache = filepath.Join(dir, "astray")
	}
	// The name follows from the lock file, so that a changed one is fetched anew.
	sum := sha256.Sum256([]byte(lock))
	dir := filepath.Join(cache, "kafka-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("%w: the broker comes through Maven: %w", ErrNotHere, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o600); err != nil {
		return "", err
	}
	files := filepath.Join(tmp, "files")
	cmd := exec.CommandContext(ctx, mvn, "--quiet", "--batch-mode", copier, "-DoutputDirectory="+files, "-DincludeScope=runtime")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn copy-dependencies: %w: %.1000s", err, out)
	}
	if err := check(files); err != nil {
		return "", err
	}
	// Renaming a whole directory is atomic: another process sees all of the files or none.
	if err := os.Rename(files, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return dir, nil
		}
		return "", err
	}
	return dir, nil
}

// check holds a directory to the lock file: the same files, each with its hash.
func check(dir string) error {
	want := map[string]string{}
	for line := range strings.Lines(lock) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return fmt.Errorf("kraft.lock: %q is not a name and a hash", line)
		}
		want[f[0]] = f[1]
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		hash, ok := want[e.Name()]
		if !ok {
			return fmt.Errorf("%s is not in kraft.lock", e.Name())
		}
		delete(want, e.Name())
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != hash {
			return fmt.Errorf("%s has hash %s, kraft.lock says %s", e.Name(), got, hash)
		}
	}
	for name := range want {
		return fmt.Errorf("%s of kraft.lock did not come", name)
	}
	return nil
}
