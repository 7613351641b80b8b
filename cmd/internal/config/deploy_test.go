package config_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/goccy/go-yaml"

	"github.com/astray-dev/astray/cmd/internal/config"
)

const deploy = "../../../deploy/"

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t *testing.T, name, text string, into any) {
	t.Helper()
	if err := yaml.UnmarshalWithOptions([]byte(text), into, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The containers fit each other: every file that is mounted is there, every variable is one that setup.sh makes, nothing
// is published beyond loopback, and run accepts the configuration.
func TestCompose(t *testing.T) {
	dir := deploy + "compose/"
	text := read(t, dir+"compose.yaml")
	var c struct {
		Name     string
		Services map[string]struct {
			Image, Restart string
			Build          map[string]string
			Command        []string
			Environment    map[string]string
			Ports, Volumes []string
			ReadOnly       bool     `yaml:"read_only"`
			CapDrop        []string `yaml:"cap_drop"`
			SecurityOpt    []string `yaml:"security_opt"`
			Ulimits        map[string]any
			Healthcheck    map[string]any
			DependsOn      map[string]map[string]string `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	parse(t, "compose.yaml", text, &c)
	for _, name := range []string{"kafka", "clickhouse", "grafana", "astray"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	setup := read(t, dir+"setup.sh")
	for _, m := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(setup, m[1]+"=") {
			t.Errorf("setup.sh does not make %s", m[1])
		}
	}
	users := read(t, dir+"clickhouse-users.xml")
	for _, m := range regexp.MustCompile(`from_env="(\w+)"`).FindAllStringSubmatch(users, -1) {
		if c.Services["clickhouse"].Environment[m[1]] == "" {
			t.Errorf("clickhouse does not get %s", m[1])
		}
	}
	server := read(t, dir+"clickhouse-server.xml")
	for name, text := range map[string]string{"clickhouse-users.xml": users, "clickhouse-server.xml": server} {
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if !strings.Contains(server, "<keep_free_space_bytes>") {
		t.Error("clickhouse-server.xml: the disk may be filled up")
	}
	for name, s := range c.Services {
		if (s.Image == "" || !strings.Contains(s.Image, ":")) && s.Build == nil {
			t.Errorf("%s: image %q has no version", name, s.Image)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond loopback", name, p)
			}
		}
		for on, how := range s.DependsOn {
			if other, ok := c.Services[on]; !ok || how["condition"] == "service_healthy" && other.Healthcheck == nil {
				t.Errorf("%s waits for %s, which has no health", name, on)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := c.Volumes[from]; !ok {
					t.Errorf("%s: volume %s is not declared", name, from)
				}
				continue
			}
			if strings.HasSuffix(from, "/dist") { // built by make plugin
				from = filepath.Dir(from)
			}
			if _, err := os.Stat(dir + from); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	a := c.Services["astray"]
	if _, err := os.Stat(filepath.Join(dir, a.Build["context"], a.Build["dockerfile"])); err != nil {
		t.Error(err)
	}
	var env []string
	for k := range a.Environment {
		env = append(env, k+"=a-word-of-16-bytes-or-more")
	}
	got, warnings, err := config.Load(dir+"astray.yaml", env)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if err := got.Ready(); err != nil {
		t.Error(err)
	}
	if host, _, _ := net.SplitHostPort(got.Kafka.Brokers[0]); c.Services[host].Image == "" {
		t.Errorf("broker %s is no service", host)
	}
	if out, err := exec.Command("sh", "-n", dir+"setup.sh").CombinedOutput(); err != nil {
		t.Errorf("setup.sh: %v %s", err, out)
	}
	dockerfile := read(t, deploy+"docker/Dockerfile")
	for _, m := range regexp.MustCompile(`(?m)^COPY (deploy/\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if _, err := os.Stat("../../../" + m[1]); err != nil {
			t.Error(err)
		}
	}
}

// The rules parse, use only metrics that are documented, and say what to do.
func TestMixin(t *testing.T) {
	var r struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Record, Alert, Expr, For string
				Labels, Annotations      map[string]string
			}
		}
	}
	parse(t, "rules.yaml", read(t, deploy+"mixin/rules.yaml"), &r)
	page := read(t, "../../../docs/operations/metrics.md")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(astray_[a-z_]+)` \\|").FindAllStringSubmatch(page, -1) {
		documented[m[1]] = true
	}
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	alerts := 0
	for _, g := range r.Groups {
		for _, x := range g.Rules {
			name := x.Record + x.Alert
			used := regexp.MustCompile(`\bastray_[a-z_]+`).FindAllString(x.Expr, -1)
			if len(used) == 0 || strings.Count(x.Expr, "(") != strings.Count(x.Expr, ")") || strings.Count(x.Expr, "[") != strings.Count(x.Expr, "]") {
				t.Errorf("%s: %s", name, x.Expr)
			}
			for _, m := range used {
				if !documented[m] && !documented[suffix.ReplaceAllString(m, "")] {
					t.Errorf("%s uses %s, which is not documented", name, m)
				}
			}
			if x.For != "" {
				if _, err := config.ParseDuration(x.For); err != nil {
					t.Errorf("%s: for: %v", name, err)
				}
			}
			if x.Alert == "" {
				continue
			}
			alerts++
			if x.Labels["severity"] == "" || x.Annotations["summary"] == "" || x.Annotations["action"] == "" {
				t.Errorf("%s says not what happened, how bad it is, or what to do", name)
			}
		}
	}
	if alerts < 10 {
		t.Errorf("%d alerts", alerts)
	}
}

// The chart renders to YAML, and to a configuration that run accepts.
func TestChart(t *testing.T) {
	dir := deploy + "helm/astray/"
	var chart struct {
		APIVersion                       string `yaml:"apiVersion"`
		Name, Description, Type, Version string
		AppVersion                       string `yaml:"appVersion"`
	}
	parse(t, "Chart.yaml", read(t, dir+"Chart.yaml"), &chart)
	if chart.APIVersion != "v2" || chart.Name != "astray" {
		t.Errorf("%+v", chart)
	}
	for _, kafkaPassword := range []bool{false, true} {
		var values map[string]any
		parse(t, "values.yaml", read(t, dir+"values.yaml"), &values)
		values["kafkaPassword"] = kafkaPassword
		if kafkaPassword {
			values["config"].(map[string]any)["kafka"].(map[string]any)["sasl"] = map[string]any{"mechanism": "SCRAM-SHA-512", "user": "astray"}
		}
		funcs := sprig.TxtFuncMap()
		funcs["toYaml"] = func(v any) (string, error) {
			b, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(b), "\n"), err
		}
		files, err := filepath.Glob(dir + "templates/*.yaml")
		if err != nil || len(files) < 3 {
			t.Fatal(files, err)
		}
		docs := map[string]map[string]any{}
		for _, f := range files {
			tmpl, err := template.New(filepath.Base(f)).Funcs(funcs).Option("missingkey=error").Parse(read(t, f))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := tmpl.Execute(&b, map[string]any{"Values": values, "Release": map[string]any{"Name": "here"},
				"Chart": map[string]any{"AppVersion": chart.AppVersion}}); err != nil {
				t.Fatal(err)
			}
			var doc map[string]any
			parse(t, f, b.String(), &doc)
			docs[doc["kind"].(string)] = doc
		}
		text := docs["ConfigMap"]["data"].(map[string]any)["astray.yaml"].(string)
		secrets := t.TempDir()
		for _, s := range []string{"clickhouse-password", "http-token", "fingerprint-key", "kafka-password"} {
			if err := os.WriteFile(filepath.Join(secrets, s), []byte("a-word-of-16-bytes-or-more"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, _, err := config.Parse("astray.yaml", []byte(strings.ReplaceAll(text, "/run/secrets/astray", secrets)), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if c.Ready() != nil || c.HTTP.Token == "" || c.HTTP.AllowUnauthenticated || kafkaPassword && c.Kafka.Password == "" || len(c.FingerprintKey) == 0 {
			t.Errorf("%+v", c)
		}
		spec := docs["Deployment"]["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		container := spec["containers"].([]any)[0].(map[string]any)
		if container["image"] != "astray:"+chart.AppVersion || container["resources"].(map[string]any)["limits"] == nil {
			t.Errorf("%v", container)
		}
	}
}
