package embedded_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/astray-dev/astray/dashboards"
	"github.com/astray-dev/astray/deploy/embedded"
)

// installed makes what looks like an installed Grafana; its executable runs a script.
func installed(t *testing.T, home, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the executable is a shell script")
	}
	for name, text := range map[string]string{"conf/defaults.ini": "", "bin/grafana": "#!/bin/sh\n" + script + "\n"} {
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindGrafana(t *testing.T) {
	dir := t.TempDir()
	home, linked, empty := filepath.Join(dir, "home"), filepath.Join(dir, "linked"), filepath.Join(dir, "empty")
	installed(t, home, "exit 0")
	for _, d := range []string{linked, empty} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(home, "bin", "grafana"), filepath.Join(linked, "grafana")); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(home)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ given, path, want string }{
		"by its home":           {home, empty, home},
		"on the path":           {"", filepath.Join(home, "bin"), real},
		"linked to on the path": {"", linked, real},
		"nowhere":               {"", empty, ""},
	} {
		t.Setenv("PATH", c.path)
		if got, err := embedded.FindGrafana(c.given); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	if _, err := embedded.FindGrafana(empty); err == nil || !strings.Contains(err.Error(), "no home of Grafana") {
		t.Errorf("an empty directory as home: %v", err)
	}
}

// What keeps a Grafana from starting is told, with what it printed.
func TestGrafanaThatDoesNotStart(t *testing.T) {
	home, plugin := t.TempDir(), t.TempDir()
	installed(t, home, "echo the disk is full; exit 1")
	opt := embedded.GrafanaOptions{Dir: t.TempDir(), Home: home, Plugin: plugin, Provisioning: fstest.MapFS{"datasources/a.yaml": {Data: []byte("a")}}}
	if _, err := embedded.StartGrafana(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "make plugin") {
		t.Errorf("a plugin that is not built: %v", err)
	}
	if err := os.WriteFile(filepath.Join(plugin, "plugin.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	opt.Change = func(_ string, text []byte) ([]byte, error) { return append(text, 'b'), nil }
	if _, err := embedded.StartGrafana(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("it ended while starting: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(opt.Dir, "provisioning/datasources/a.yaml")); string(got) != "ab" {
		t.Errorf("provisioned: %q, %v", got, err)
	}
	ini, err := os.ReadFile(filepath.Join(opt.Dir, "grafana.ini"))
	if err != nil || !strings.Contains(string(ini), "http_addr = 127.0.0.1\n") {
		t.Errorf("it does not keep to loopback: %v\n%s", err, ini)
	}
}

// A real Grafana, where GRAFANA_HOME names one and make plugin was run, loads the app and what is provisioned.
func TestGrafana(t *testing.T) {
	home, plugin := os.Getenv("GRAFANA_HOME"), "../../dashboards/astray-app/dist"
	if _, err := os.Stat(filepath.Join(plugin, "plugin.json")); err != nil || home == "" {
		t.Skip("SKIPPED: set GRAFANA_HOME to a Grafana and run make plugin")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	g, err := embedded.StartGrafana(ctx, embedded.GrafanaOptions{Dir: t.TempDir(), Home: home, Plugin: plugin, Provisioning: dashboards.Provisioning(), Env: []string{"ASTRAY_CLICKHOUSE_ADDRESS=127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/api/plugins/astray-app/settings": `"enabled":true`, "/api/datasources/uid/astray": `"astray-datasource"`, "/api/dashboards/uid/astray-overview": "Astray / Overview",
		"/api/v1/provisioning/alert-rules": "astray-no-data", "/api/datasources/uid/astray/health": "nothing listens there",
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(g.User, g.Password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %.300s, %v", path, res.StatusCode, body, err)
		}
	}
	if err := g.Stop(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-g.Done():
	default:
		t.Error("it still runs")
	}
}
