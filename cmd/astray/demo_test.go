package main

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/astray-dev/astray/deploy/embedded"
)

func TestMain(m *testing.M) {
	embedded.MaybeChild()
	maybeAstray()
	os.Exit(m.Run())
}

func demonstrated(args ...string) (string, error) {
	c := demoCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	var out bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.Execute()
	return out.String(), err
}

// The whole command in this process: it ends by itself, and what was produced is what was stored.
func TestDemoEndsWithItsFigures(t *testing.T) {
	out, err := demonstrated("--agents", "40", "--days", "0.5", "--speed", "1200", "--duration", "8s", "--clickhouse-dsn", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := regexp.MustCompile(`^demo: produced=(\d+) stored=(\d+) dead=0 alerts=\d+ attacks=\d+ found=\d+$`).FindStringSubmatch(lines[len(lines)-1])
	if last == nil || last[1] != last[2] || last[1] == "0" {
		t.Errorf("the last line: %s\n%s", lines[len(lines)-1], out)
	}
	if strings.Count(out, "triage in Grafana: ") != 1 {
		t.Errorf("it does not say in one line where to triage, or how to get a Grafana\n%s", out)
	}
	if strings.ContainsRune(out, '\x1b') {
		t.Error("escape sequences where there is no terminal")
	}
}

func TestDemoTellsWrongUse(t *testing.T) {
	for name, args := range map[string][]string{
		"speed": {"--speed", "0"}, "duration": {"--duration", "-1s"}, "partitions": {"--partitions", "0"}, "budget": {"--alert-budget", "0"},
		"truth": {"--truth", "t.json"}, "agents": {"--agents", "3"}, "days": {"--days", "0"}, "attacks": {"--attacks", "arson"},
		"grafana": {"--grafana-home", "no such directory"},
	} {
		if _, err := demonstrated(args...); !errors.As(err, new(usageError)) {
			t.Errorf("%s: %v is not told as wrong use", name, err)
		}
	}
	if _, err := demonstrated("--events", "no such file"); err == nil || errors.As(err, new(usageError)) {
		t.Errorf("a file that is not there: %v", err)
	}
}
