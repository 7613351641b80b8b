package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"
)

// GrafanaOptions of a Grafana that shows Astray.
type GrafanaOptions struct {
	Dir          string // its data and configuration; must exist
	Home         string // where it is installed, as FindGrafana tells
	Plugin       string // directory of the built app plugin
	Provisioning fs.FS  // laid into Dir
	// Change, if given, tells what is laid there instead of a file.
	Change func(name string, text []byte) ([]byte, error)
	Env    []string // KEY=value, for the variables in Provisioning
	Log    io.Writer
}

// Grafana is a running Grafana that answers on loopback.
type Grafana struct {
	URL      string // without a slash at the end
	User     string
	Password string // made for this start
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process has ended
}

const grafanaDefaults = "conf/defaults.ini"

// FindGrafana is the directory where Grafana is installed: home, where that is given, or what belongs to a grafana on the
// PATH, and "" where there is none. A home that holds no Grafana is an error.
func FindGrafana(home string) (string, error) {
	if home != "" {
		abs, err := filepath.Abs(home)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(filepath.Join(abs, grafanaDefaults)); err != nil {
			return "", fmt.Errorf("%s is no home of Grafana: %w", home, err)
		}
		if _, err := grafanaBinary(abs); err != nil {
			return "", fmt.Errorf("%s is no home of Grafana: %w", home, err)
		}
		return abs, nil
	}
	bin, err := exec.LookPath("grafana")
	if err != nil {
		return "", nil
	}
	if real, err := filepath.EvalSymlinks(bin); err == nil {
		bin = real
	}
	up := filepath.Dir(filepath.Dir(bin))
	for _, dir := range []string{up, filepath.Join(up, "share", "grafana"), "/usr/share/grafana"} {
		if _, err := os.Stat(filepath.Join(dir, grafanaDefaults)); err == nil {
			return dir, nil
		}
	}
	return "", nil
}

// grafanaBinary is the executable of an installation, or the one on the PATH where packages keep it apart.
func grafanaBinary(home string) (string, error) {
	name := "grafana"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	for _, dir := range []string{filepath.Join(home, "bin"), filepath.Join(home, "bin", runtime.GOOS+"-"+runtime.GOARCH)} {
		if bin := filepath.Join(dir, name); isFile(bin) {
			return bin, nil
		}
	}
	return exec.LookPath("grafana")
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// grafanaINI keeps a Grafana on this machine: it answers on loopback, asks nobody for news, versions or plugins, and
// loads the one plugin that is not signed.
var grafanaINI = template.Must(template.New("grafana.ini").Parse(`[paths]
data = {{.Dir}}/data
logs = {{.Dir}}/log
plugins = {{.Dir}}/plugins
provisioning = {{.Dir}}/provisioning
[server]
http_addr = 127.0.0.1
http_port = {{.Port}}
[security]
admin_user = {{.User}}
admin_password = {{.Password}}
disable_gravatar = true
[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
[news]
news_feed_enabled = false
[plugins]
allow_loading_unsigned_plugins = astray-app,astray-datasource,astray-alerts-panel
preinstall_disabled = true
plugin_admin_enabled = false
public_key_retrieval_disabled = true
[plugin.astray-app]
path = {{.Plugin}}
[snapshots]
external_enabled = false
[log]
mode = console
level = warn
`))

// StartGrafana starts a Grafana and waits until it answers.
func StartGrafana(ctx context.Context, opt GrafanaOptions) (*Grafana, error) {
	if opt.Log == nil {
		opt.Log = io.Discard
	}
	bin, err := grafanaBinary(opt.Home)
	if err != nil {
		return nil, fmt.Errorf("grafana: %w", err)
	}
	plugin, err := filepath.Abs(opt.Plugin)
	if err != nil {
		return nil, err
	}
	if !isFile(filepath.Join(plugin, "plugin.json")) {
		return nil, fmt.Errorf("grafana: the plugin is not built in %s: run make plugin", opt.Plugin)
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return nil, err
	}
	provisioning := filepath.Join(dir, "provisioning")
	// Data of an earlier start would keep that start's password.
	for _, old := range []string{provisioning, filepath.Join(dir, "data")} {
		if err := os.RemoveAll(old); err != nil {
			return nil, err
		}
	}
	if err := lay(provisioning, opt); err != nil {
		return nil, err
	}
	ports, err := freePorts("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	g := &Grafana{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), User: "admin", Password: rand.Text()[:16], done: make(chan struct{})}
	var ini bytes.Buffer
	if err := grafanaINI.Execute(&ini, map[string]any{"Dir": filepath.ToSlash(dir), "Port": ports[0], "User": g.User, "Password": g.Password, "Plugin": plugin}); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "grafana.ini")
	if err := os.WriteFile(config, ini.Bytes(), 0o600); err != nil {
		return nil, err
	}
	g.cmd = exec.Command(bin, "server", "--homepath", opt.Home, "--config", config)
	g.cmd.Dir = dir
	g.cmd.Env = []string{"GF_PATHS_PROVISIONING=" + provisioning}
	for _, kv := range os.Environ() {
		// A setting of another Grafana, which may listen to the world, is not this one's.
		if !strings.HasPrefix(kv, "GF_") {
			g.cmd.Env = append(g.cmd.Env, kv)
		}
	}
	g.cmd.Env = append(g.cmd.Env, opt.Env...)
	var said bytes.Buffer
	out := io.MultiWriter(opt.Log, &limited{&said, 16 << 10})
	g.cmd.Stdout, g.cmd.Stderr = out, out
	g.cmd.SysProcAttr = childAttributes()
	if err := start(g.cmd); err != nil {
		return nil, fmt.Errorf("grafana: %w", err)
	}
	go func() {
		_ = g.cmd.Wait() // however it ended, done tells
		close(g.done)
	}()
	if err := g.answers(ctx); err != nil {
		g.Kill()
		return nil, fmt.Errorf("grafana: %w\n%s", err, said.String())
	}
	return g, nil
}

// lay writes what is provisioned into dir.
func lay(dir string, opt GrafanaOptions) error {
	return fs.WalkDir(opt.Provisioning, ".", func(name string, e fs.DirEntry, err error) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(to, 0o700)
		}
		text, err := fs.ReadFile(opt.Provisioning, name)
		if err == nil && opt.Change != nil {
			text, err = opt.Change(name, text)
		}
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
}

// answers waits until the server is healthy.
func (g *Grafana) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/api/health", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.done:
			return errors.New("it ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Done is closed when the process has ended.
func (g *Grafana) Done() <-chan struct{} { return g.done }

// Stop ends the process as its own signal does, or at once when the context ends.
func (g *Grafana) Stop(ctx context.Context) error {
	if runtime.GOOS == "windows" || g.cmd.Process.Signal(os.Interrupt) != nil {
		g.Kill()
		return nil
	}
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		g.Kill()
		return fmt.Errorf("grafana: it did not end by itself: %w", ctx.Err())
	}
}

// Kill ends the process at once.
func (g *Grafana) Kill() {
	_ = g.cmd.Process.Kill()
	<-g.done
}
