package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/astray-dev/astray/cmd/internal/config"
)

// Each mistake is named with its line, all of them at once.
func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":       {"kafka:\n  broker: [a:1]\n", `f.yaml:2: kafka.broker: is no key; did you mean brokers?`},
		"wrong place":       {"brokers: [a:1]\n", `f.yaml:1: brokers: is no key; did you mean kafka.brokers?`},
		"swapped letters":   {"clikchouse:\n  dsn: x\n", `f.yaml:1: clikchouse: is no key; did you mean clickhouse?`},
		"nothing near":      {"log:\n  zzzzzzzz: 1\n", `f.yaml:2: log.zzzzzzzz: is no key; here stand format, level`},
		"duplicate key":     {"kafka:\n  group: a\n  group: b\n", `f.yaml:3: kafka.group: stands twice; first in line 2`},
		"duplicate section": {"log:\n  level: info\nlog:\n  level: warn\n", `f.yaml:3: log: stands twice; first in line 1`},
		"text for number":   {"kafka:\n  partitions: four\n", `f.yaml:2: kafka.partitions: is a whole number, and not the text "four"`},
		"number for text":   {"kafka:\n  group: 7\n", `f.yaml:2: kafka.group: is a text, and not the number 7; put it in quotes`},
		"fraction":          {"kafka:\n  partitions: 1.5\n", `f.yaml:2: kafka.partitions: is a whole number, and not the number 1.5`},
		"list for text":     {"kafka:\n  group: [a]\n", `f.yaml:2: kafka.group: is a text, and not a list`},
		"section for text":  {"kafka:\n  group:\n    id: a\n", `kafka.group: is a text, and not a section with keys`},
		"text for section":  {"kafka: yes please\n", `f.yaml:1: kafka: it holds keys, each with a value, and not the text "yes please"`},
		"list at the top":   {"- a\n", `f.yaml:1: the file holds keys, each with a value, and not a list`},
		"item of a list":    {"kafka:\n  brokers:\n    - a:1\n    - 7\n", `f.yaml:4: kafka.brokers[1]: is a text, and not the number 7`},
		"text for bool":     {"http:\n  pprof: \"on\"\n", `f.yaml:2: http.pprof: is a true or false, and not the text "on"`},
		"no unit":           {"triage:\n  poll: 5\n", `f.yaml:2: triage.poll: "5" has no unit; write 5s or 5ms`},
		"bad duration":      {"triage:\n  poll: soon\n", `f.yaml:2: triage.poll: "soon" is no duration`},
		"short duration":    {"triage:\n  poll: 1ms\n", `f.yaml:2: triage.poll: 1ms is not between 100ms and 10m`},
		"half a day":        {"clickhouse:\n  retention:\n    events: 36h\n", `f.yaml:3: clickhouse.retention.events: 36h is not a number of whole days`},
		"bad size":          {"kafka:\n  fetch_max_bytes: big\n", `f.yaml:2: kafka.fetch_max_bytes: "big" is no size`},
		"out of range":      {"detect:\n  alert_budget: 0\n", `f.yaml:2: detect.alert_budget: 0 is not between 0.001 and 1000`},
		"not a number":      {"detect:\n  alert_budget: .nan\n", `f.yaml:2: detect.alert_budget: is a number, and not the number .nan`},
		"huge number":       {"kafka:\n  partitions: 99999999999999999999\n", `f.yaml:2: kafka.partitions:`},
		"none of":           {"log:\n  level: wran\n", `f.yaml:2: log.level: "wran" is none of debug, info, warn, error; did you mean warn?`},
		"upper case":        {"kafka:\n  sasl:\n    mechanism: scram-sha-512\n", `f.yaml:3: kafka.sasl.mechanism: "scram-sha-512": is written SCRAM-SHA-512`},
		"port":              {"kafka:\n  brokers: [\"a:99999\"]\n", `f.yaml:2: kafka.brokers: "a:99999": the port is not a number between 1 and 65535`},
		"no port":           {"kafka:\n  brokers: [kafka]\n", `f.yaml:2: kafka.brokers: "kafka" is not host:port`},
		"topic":             {"kafka:\n  topic: a b\n", `f.yaml:2: kafka.topic: "a b" is no name of a topic: ' ' is not a letter`},
		"detector":          {"detect:\n  detectors: [scrapping]\n", `f.yaml:2: detect.detectors:`},
		"dsn":               {"clickhouse:\n  dsn: mysql://a/b\n", `f.yaml:2: clickhouse.dsn: is not a DSN: it begins with clickhouse://`},
		"secret":            {"kafka:\n  sasl:\n    password: hunter2\n", `f.yaml:3: kafka.sasl.password: a secret does not stand in this file`},
		"secret in the dsn": {"clickhouse:\n  dsn: clickhouse://a:hunter2@h:1/d\n", `f.yaml:2: clickhouse.dsn: a password does not stand in this file`},
		"missing file":      {"http:\n  token_file: /no/such/file\n", `f.yaml:2: http.token_file: /no/such/file: no such file or directory`},
		"sasl by half":      {"kafka:\n  sasl:\n    user: a\n", `f.yaml:3: kafka.sasl.user: needs kafka.sasl.mechanism`},
		"tls by half":       {"kafka:\n  tls:\n    enabled: true\n    cert_file: /dev/null\n", `f.yaml:4: kafka.tls.cert_file: kafka.tls.cert_file and kafka.tls.key_file go together`},
		"unused ca":         {"kafka:\n  tls:\n    ca_file: /dev/null\n", `f.yaml:3: kafka.tls.ca_file: needs kafka.tls.enabled: true`},
		"timeouts":          {"clickhouse:\n  insert_timeout: 40s\n", `f.yaml:2: clickhouse.insert_timeout: clickhouse.insert_timeout (40s) is shorter than kafka.session_timeout (30s)`},
		"beyond loopback":   {"http:\n  listen: 0.0.0.0:9464\n", `f.yaml:2: http.listen: 0.0.0.0:9464 can be reached from other machines`},
		"open to all":       {"receive:\n  listen: 0.0.0.0:4318\n  allow_unauthenticated: true\n", `f.yaml:2: receive.listen: 0.0.0.0:4318 takes events of whoever asks`},
		"without tokens":    {"receive:\n  listen: 127.0.0.1:4318\n", `f.yaml:2: receive.listen: 127.0.0.1:4318 takes events of whoever asks`},
		"half a pair":       {"receive:\n  listen: 127.0.0.1:4318\n  allow_unauthenticated: true\n  cert_file: c\n", `f.yaml:4: receive.cert_file: and receive.key_file go together`},
		"every address":     {"http:\n  listen: \":9464\"\n", `f.yaml:2: http.listen: ":9464": say the address too`},
		"same topics":       {"kafka:\n  topic: agent.dead\n", `f.yaml:2: kafka.topic: the topics of events, alerts and dead letters are three`},
		"rule key":          {"triage:\n  suppressions:\n    - detektor: x\n", `f.yaml:3: triage.suppressions[0].detektor: is no key; did you mean detector?`},
		"rule of all":       {"triage:\n  suppressions:\n    - why: quiet\n", `f.yaml:3: triage.suppressions[0]: suppression: name a detector`},
		"rule time":         {"triage:\n  suppressions:\n    - {detector: x, why: y, until: tomorrow}\n", `f.yaml:3: triage.suppressions[0].until: "tomorrow" is no time`},
		"rule is text":      {"triage:\n  suppressions: [x]\n", `f.yaml:2: triage.suppressions[0]: has the keys detector`},
		"not YAML":          {"kafka:\n  group: \"a\n", `f.yaml:2: is not YAML:`},
		"tab":               {"kafka:\n\tgroup: a\n", `f.yaml:2: is not YAML:`},
		"two documents":     {"log:\n  level: info\n---\nlog:\n  level: info\n", `a second document begins`},
		"anchor":            {"log: &a\n  level: info\n", `f.yaml:1: log: it holds keys`},
		"merge key":         {"log:\n  <<: {level: info}\n", `f.yaml:2: log: merge keys`},
	} {
		_, _, err := config.Parse("f.yaml", []byte(c.text), nil)
		var p config.Problems
		if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the secret is told: %v", name, err)
		}
	}
	_, _, err := config.Parse("f.yaml", []byte("kafka:\n  broker: a\n  partitions: x\nlog:\n  level: y\n"), nil)
	if n := strings.Count(err.Error(), "\n"); n != 2 {
		t.Errorf("three mistakes: %v", err)
	}
}

func TestTheExampleIsAcceptedAndHoldsTheDefaults(t *testing.T) {
	const file = "../../../deploy/astray.yaml"
	c, warnings, err := config.Load(file, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	plain, _, err := config.Parse("", nil, []string{"ASTRAY_KAFKA_BROKERS=127.0.0.1:9092", "ASTRAY_CLICKHOUSE_DSN=clickhouse://astray@127.0.0.1:9000/astray"})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	plain.Effective(func(f config.Field, v string) { values[f.Path] = v })
	c.Effective(func(f config.Field, v string) {
		if v != values[f.Path] {
			t.Errorf("%s is %s in the example and %s by default", f.Path, v, values[f.Path])
		}
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range config.Fields() {
		name := f.Path[strings.LastIndexByte(f.Path, '.')+1:]
		if !f.Secret && !strings.Contains(string(text), name+":") {
			t.Errorf("the example does not show %s", f.Path)
		}
	}
	// What is commented out is right too.
	var lines []string
	for _, l := range strings.Split(string(text), "\n") {
		body, comment := strings.CutPrefix(strings.TrimLeft(l, " "), "# ")
		if comment && (strings.Contains(body, ": ") || strings.HasPrefix(strings.TrimSpace(body), "- ") || strings.Contains(body, "suppressions:")) && !strings.Contains(l, "_file:") && !strings.HasPrefix(l, "#") {
			l = strings.Repeat(" ", len(l)-len(strings.TrimLeft(l, " "))) + body
		}
		lines = append(lines, l)
	}
	c, _, err = config.Parse("uncommented", []byte(strings.Join(lines, "\n")), []string{"ASTRAY_KAFKA_SASL_PASSWORD=x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Triage.Suppressions) != 2 || c.Kafka.Mechanism != "SCRAM-SHA-512" || len(c.Detect.Detectors) != 2 {
		t.Errorf("uncommented: %+v", c)
	}
}

func TestTheEnvironmentWins(t *testing.T) {
	c, warnings, err := config.Parse("f", []byte("kafka:\n  group: file\n  brokers: a:1\n"), []string{
		"ASTRAY_KAFKA_GROUP=env", "ASTRAY_KAFKA_BROKERS=b:1, c:2,", "ASTRAY_TRIAGE_POLL=3s", "ASTRAY_KAFKA_TLS_ENABLED=true",
		"ASTRAY_CLICKHOUSE_DSN=clickhouse://h:1/d", "ASTRAY_CLICKHOUSE_PASSWORD=p@ss/w", "ASTRAY_KAFKA_GRUOP=x", "ASTRAY_PORT_9464_TCP=tcp://1.2.3.4", "OTHER=1"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Kafka.Group != "env" || strings.Join(c.Kafka.Brokers, " ") != "b:1 c:2" || c.Triage.Poll != 3*time.Second || !c.Kafka.TLS {
		t.Errorf("%+v", c)
	}
	if c.ClickHouse.DSN != "clickhouse://default:p%40ss%2Fw@h:1/d" {
		t.Error(c.ClickHouse.DSN)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "did you mean ASTRAY_KAFKA_GROUP?") {
		t.Error(warnings)
	}
	if _, _, err := config.Parse("", nil, []string{"ASTRAY_TRIAGE_POLL=soon"}); err == nil || !strings.Contains(err.Error(), `ASTRAY_TRIAGE_POLL: triage.poll: "soon"`) {
		t.Error(err)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	pw := write("pw", "s3cret-word\n")
	key := write("key", "0123456789abcdef")
	text := "kafka:\n  sasl: {mechanism: PLAIN, user: u, password_file: " + pw + "}\nclickhouse:\n  dsn: clickhouse://u@h:1/d\n  password_file: " + pw +
		"\nhttp:\n  listen: 0.0.0.0:1\n  token_file: " + pw + "\nfingerprint_key_file: " + key + "\n"
	c, warnings, err := config.Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Kafka.Password != "s3cret-word" || c.HTTP.Token != "s3cret-word" || c.ClickHouse.DSN != "clickhouse://u:s3cret-word@h:1/d" || string(c.FingerprintKey) != "0123456789abcdef" {
		t.Errorf("%+v", c)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "in the clear") {
		t.Error(warnings)
	}
	c.Effective(func(f config.Field, v string) {
		if strings.Contains(v, "s3cret-word") {
			t.Errorf("%s shows the secret: %s", f.Path, v)
		}
	})
	for want, text := range map[string]string{
		"is empty":         "fingerprint_key_file: " + write("empty", "\n"),
		"at least 16":      "fingerprint_key_file: " + write("short", "abc"),
		"are both set":     "http:\n  token_file: " + pw,
		"larger than any ": "http:\n  token_file: " + write("big", strings.Repeat("x", 70<<10)),
	} {
		env := []string{}
		if want == "are both set" {
			env = append(env, "ASTRAY_HTTP_TOKEN=x")
		}
		if _, _, err := config.Parse("f", []byte(text), env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// No text makes it panic, and whatever is wrong is told as problems.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../../deploy/astray.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add("kafka: {brokers: [a:1, {b: c}], <<: *x}")
	f.Add("? [a]\n: b\n")
	f.Add("!!binary x: !!float y\n&a a: *a")
	f.Fuzz(func(t *testing.T, text string) {
		_, _, err := config.Parse("f", []byte(text), nil)
		var p config.Problems
		if err != nil && !errors.As(err, &p) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestDurationsAndSizesReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(365*24*time.Hour)).Draw(t, "d")).Truncate(time.Millisecond)
		if got, err := config.ParseDuration(config.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%s became %s: %v", d, got, err)
		}
		n := rapid.Int64Range(0, 1<<50).Draw(t, "n")
		if got, err := config.ParseSize(config.FormatSize(n)); err != nil || got != n {
			t.Fatalf("%d became %d: %v", n, got, err)
		}
	})
}
