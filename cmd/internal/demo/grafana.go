package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/astray-dev/astray/dashboards"
	"github.com/astray-dev/astray/deploy/embedded"
)

// NoGrafana is what a demo says where there is no Grafana.
const NoGrafana = "triage in Grafana: none was found; install Grafana 12.4 or later and name it with --grafana-home DIR or GRAFANA_HOME"

// span is how far back the dashboards look: a world begins weeks ago.
const span = "now-30d"

// grafana starts a Grafana that shows the database which dsn names, where there is one.
func (d *demo) grafana(ctx context.Context, dir, dsn string) error {
	if d.cfg.Grafana == "" {
		d.state.Triage = NoGrafana
		return nil
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Plugin, "plugin.json")); err != nil {
		d.state.Triage = "triage in Grafana: the app is not built; run make plugin in the repository, or name a built one with --grafana-plugin DIR"
		return nil
	}
	opt, err := native.ParseDSN(dsn)
	if err != nil {
		return errors.New("--clickhouse-dsn: it is not a ClickHouse DSN")
	}
	home := filepath.Join(dir, "grafana")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	d.state.What, d.state.Progress = "starting Grafana", -1
	d.show()
	g, err := embedded.StartGrafana(ctx, embedded.GrafanaOptions{Dir: home, Home: d.cfg.Grafana, Plugin: d.cfg.Plugin, Provisioning: dashboards.Provisioning(), Change: looking, Env: []string{
		"ASTRAY_CLICKHOUSE_ADDRESS=" + opt.Addr[0], "ASTRAY_CLICKHOUSE_DATABASE=" + opt.Auth.Database,
		"ASTRAY_CLICKHOUSE_USER=" + opt.Auth.Username, "ASTRAY_CLICKHOUSE_PASSWORD=" + opt.Auth.Password}})
	if err != nil {
		return err
	}
	d.ends = append(d.ends, func() error {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		return g.Stop(ending)
	})
	d.gone = g.Done()
	d.state.Triage = fmt.Sprintf("triage in Grafana: %s/a/astray-app/triage?range=30d (user %s, password %s)", g.URL, g.User, g.Password)
	return nil
}

// looking makes a dashboard look back as far as span.
func looking(name string, text []byte) ([]byte, error) {
	if path.Ext(name) != ".json" {
		return text, nil
	}
	var board map[string]any
	if err := json.Unmarshal(text, &board); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	board["time"] = map[string]string{"from": span, "to": "now"}
	return json.Marshal(board)
}
