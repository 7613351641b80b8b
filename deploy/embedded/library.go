package embedded

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha512"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

//go:embed chdb.lock
var lock string

// Library returns the path of libchdb for this platform, fetching it through npm when it is not in the cache
// yet. What is fetched must have the hash of chdb.lock. Several processes may ask at once.
func Library(ctx context.Context, cache string, progress func(what string, done, total int64)) (string, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache directory: %w", err)
		}
		cache = filepath.Join(dir, "astray")
	}
	name, version, integrity, err := locked()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-")+"-"+version)
	lib := filepath.Join(dir, "libchdb.so")
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("the embedded ClickHouse comes through npm: %w", err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	progress("download "+name, 0, 0)
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--pack-destination", tmp, name+"@"+version)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w: %.500s", name, version, err, out)
	}
	packs, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(packs) != 1 {
		return "", fmt.Errorf("npm pack %s@%s left %d packages", name, version, len(packs))
	}
	if err := unpack(packs[0], integrity, filepath.Join(tmp, "unpacked"), progress); err != nil {
		return "", fmt.Errorf("%s@%s: %w", name, version, err)
	}
	// Renaming a whole directory is atomic: another process sees all of the library or none of it.
	if err := os.Rename(filepath.Join(tmp, "unpacked"), dir); err != nil {
		if _, there := os.Stat(lib); there == nil {
			return lib, nil
		}
		return "", err
	}
	return lib, nil
}

// locked returns this platform's entry of the lock file: lines of name, version and integrity.
func locked() (name, version, integrity string, err error) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for line := range strings.Lines(lock) {
		f := strings.Fields(line)
		if len(f) == 4 && f[0] == platform {
			return f[1], f[2], f[3], nil
		}
	}
	return "", "", "", fmt.Errorf("%s: %w", platform, errNoPlatform)
}

func unpack(pack, integrity, dir string, progress func(string, int64, int64)) error {
	f, err := os.Open(pack)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha512.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != integrity {
		return fmt.Errorf("the package has hash %s, the lock file says %s", got, integrity)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("no libchdb.so in the package")
		}
		if err != nil {
			return err
		}
		if filepath.Base(h.Name) != "libchdb.so" || h.Typeflag != tar.TypeReg {
			continue
		}
		out, err := os.OpenFile(filepath.Join(dir, "libchdb.so"), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, io.TeeReader(t, &meter{total: h.Size, report: progress}))
		return errors.Join(err, out.Close())
	}
}

type meter struct {
	done, total int64
	report      func(string, int64, int64)
}

func (m *meter) Write(p []byte) (int, error) {
	m.done += int64(len(p))
	m.report("unpack ClickHouse", m.done, m.total)
	return len(p), nil
}
