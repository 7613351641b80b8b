package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astray-dev/astray/deploy/embedded"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	os.Exit(m.Run())
}

// The harness answers as Grafana does, in the role that a header names, and serves the pages.
func TestServesAsGrafanaDoes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	static := t.TempDir()
	if err := os.WriteFile(filepath.Join(static, "index.html"), []byte("<title>pages</title>"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"--alerts", "7", "--hostile", "--static", static}, w, io.Discard)
		w.CloseWithError(io.EOF)
		done <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err, <-done)
	}
	base := strings.TrimSuffix(line, "/\n")
	call := func(method, path, role, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Astray-Role", role)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	now := time.Now()
	span := fmt.Sprintf("?from=%d&to=%d", now.AddDate(0, 0, -4).UnixMilli(), now.Add(time.Hour).UnixMilli())
	const resources, source = "/api/plugins/astray-app/resources/", "/api/datasources/uid/astray/"
	for _, c := range []struct {
		method, path, role, body string
		status                   int
		has                      string
	}{
		{"GET", resources + "me", "Editor", "", 200, `"login":"editor"`},
		{"GET", resources + "alerts" + span, "Viewer", "", 200, `"id":"many-00006"`},
		{"GET", source + "resources/values?of=severities", "Viewer", "", 200, `"critical"`},
		{"POST", resources + "actions", "Viewer", `{"ids":["many-00001"],"action":"acknowledge"}`, 403, `You are a Viewer`},
		{"POST", resources + "actions", "Editor", `{"ids":["many-00001"],"action":"acknowledge"}`, 200, `"state":"acknowledged"`},
		{"GET", source + "health", "Viewer", "", 200, "Connected to ClickHouse"},
		{"POST", "/api/ds/query", "Viewer", `{"from":"now-4d","to":"now","queries":[{"refId":"A","queryType":"alerts"}]}`, 200, `"many-00003"`},
		{"POST", "/api/ds/query", "Viewer", `{"from":"now-4d","to":"now","queries":[{"refId":"A","queryType":"moon"}]}`, 400, "queryType"},
		{"GET", "/a/astray-app/triage", "Viewer", "", 200, "<title>pages</title>"},
	} {
		if status, body := call(c.method, c.path, c.role, c.body); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%s %s as %s: %d %.300s", c.method, c.path, c.role, status, body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), []string{"--listen", "0.0.0.0:0"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("it listens beyond loopback: %v", err)
	}
}
