// Package embedded starts the real servers that the demo and the tests run against, on loopback.
//
// ClickHouse is a `clickhouse` binary when one is on the PATH. Otherwise it is libchdb, the same engine as a
// shared library, fetched through npm and checked against the hashes in chdb.lock. The library is loaded by a
// child process: this very executable, started again with an environment variable that MaybeChild looks for.
// The child serves until its standard input closes, so it cannot outlive its parent.
package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"
)

const (
	childLib  = "ASTRAY_EMBEDDED_CHDB"
	keepAlive = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT count() FROM file('stdin','LineAsString','line String') FORMAT Null"
)

// Users that a server has beside "default", which answers on loopback without a password.
const (
	Writer    = "astray"    // the engine: may do everything
	Analyst   = "analyst"   // reads, and appends what people decide about alerts
	Responder = "responder" // reads
)

// Options of a ClickHouse server.
type Options struct {
	Dir      string // data directory; must exist
	Cache    string // where a fetched library is kept; the user's cache directory when empty
	Progress func(what string, done, total int64)
	Log      io.Writer // what the server prints; discarded when nil

	// Listen is the address to answer on, default 127.0.0.1. On any other the users need the passwords that
	// Password tells, made anew for each StartClickHouse, and "default" still answers on loopback alone.
	Listen            string
	TCPPort, HTTPPort int    // default: ports that are free
	Database          string // where Analyst may append, default "default"
	Memory            int64  // bound for the server, bytes, default 4 GB
	KeepFree          int64  // what the server leaves free on its disk, bytes, default 128 MB: on a full one it can lose parts (ingest/PROTOCOL.md)
	Passwords         bool   // the users need passwords on loopback, too
	// Restart starts the server again when it ends by itself, on the same ports and data, until Stop or Kill.
	// Restarted is told of each, with how long it took for the server to answer again or why it does not.
	Restart   bool
	Restarted func(took time.Duration, err error)
}

// Server is a running ClickHouse that answers on loopback.
type Server struct {
	opt               Options
	tcpPort, httpPort int
	passwords         map[string]string

	mu       sync.Mutex
	cmd      *exec.Cmd
	stdin    io.Closer
	done     chan struct{} // closed when the process has ended
	watching chan struct{} // closed when the watch for an unforeseen end has ended
	unwatch  context.CancelFunc
}

// StartClickHouse starts a server and waits until it answers.
func StartClickHouse(ctx context.Context, opt Options) (*Server, error) {
	if opt.Log == nil {
		opt.Log = io.Discard
	}
	if opt.Listen == "" {
		opt.Listen = "127.0.0.1"
	}
	if opt.Database == "" {
		opt.Database = "default"
	}
	if opt.Memory <= 0 {
		opt.Memory = 4_000_000_000
	}
	if opt.KeepFree <= 0 {
		opt.KeepFree = 128_000_000
	}
	ip := net.ParseIP(opt.Listen)
	if ip == nil {
		return nil, fmt.Errorf("clickhouse: listen address %q is not an IP address", opt.Listen)
	}
	for attempt := 0; ; attempt++ {
		ports, err := freePorts(opt.Listen, 2)
		if err != nil {
			return nil, err
		}
		s := &Server{opt: opt, tcpPort: ports[0], httpPort: ports[1], passwords: map[string]string{}}
		if opt.TCPPort != 0 {
			s.tcpPort = opt.TCPPort
		}
		if opt.HTTPPort != 0 {
			s.httpPort = opt.HTTPPort
		}
		if !ip.IsLoopback() || opt.Passwords {
			for _, u := range []string{Writer, Analyst, Responder} {
				s.passwords[u] = rand.Text()
			}
		}
		err = s.Start(ctx)
		if err == nil {
			return s, nil
		}
		// Another process may have taken a port between our finding it free and the server's binding it.
		if attempt == 2 || ctx.Err() != nil || !strings.Contains(err.Error(), "Address already in use") {
			return nil, err
		}
	}
}

// Start starts the process on the same ports and data again, after Kill or Stop.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		select {
		case <-s.done:
		default:
			return errors.New("clickhouse: it is running")
		}
	}
	if err := s.launch(ctx); err != nil {
		return err
	}
	if s.opt.Restart {
		watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s.unwatch, s.watching = cancel, make(chan struct{})
		go s.watch(watch, s.watching)
	}
	return nil
}

// watch restarts the process whenever it ends, with growing pauses while it does not come up.
func (s *Server) watch(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	pause := time.Duration(0)
	for {
		s.mu.Lock()
		done := s.done
		s.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t0 := time.Now()
		err := func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := ctx.Err(); err != nil {
				return err
			}
			s.stdin.Close()
			return s.launch(ctx)
		}()
		if ctx.Err() != nil {
			return
		}
		pause = min(max(2*pause, 100*time.Millisecond), 10*time.Second)
		if err == nil {
			pause = 100 * time.Millisecond
		}
		if s.opt.Restarted != nil {
			s.opt.Restarted(time.Since(t0), err)
		}
	}
}

// rest ends the watch, so that an end of the process that is meant stays one. It must be called without the lock.
func (s *Server) rest() {
	s.mu.Lock()
	unwatch, watching := s.unwatch, s.watching
	s.unwatch = nil
	s.mu.Unlock()
	if unwatch != nil {
		unwatch()
		<-watching
	}
}

// launch starts the process and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	config := filepath.Join(s.opt.Dir, "config.xml")
	text, err := s.config()
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	args := []string{"local", "--path=" + s.opt.Dir, "--listen_host=" + s.opt.Listen,
		"--tcp_port=" + strconv.Itoa(s.tcpPort), "--http_port=" + strconv.Itoa(s.httpPort), "--config-file=" + config, "--query", keepAlive}
	var cmd *exec.Cmd
	if bin, err := exec.LookPath("clickhouse"); err == nil {
		cmd = exec.Command(bin, args...)
	} else {
		lib, err := Library(ctx, s.opt.Cache, s.opt.Progress)
		if err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cmd = exec.Command(self, args...)
		cmd.Env = append(os.Environ(), childLib+"="+lib)
	}
	// SYSTEM SHUTDOWN signals the process group; the child has one of its own. It dies with its parent.
	cmd.SysProcAttr = childAttributes()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = s.opt.Log, io.MultiWriter(s.opt.Log, &limited{&out, 4096})
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := start(cmd); err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.cmd, s.stdin, s.done = cmd, stdin, done
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if r, err := client.Get(s.HTTPURL() + "/ping"); err == nil {
			r.Body.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-done:
			return fmt.Errorf("clickhouse ended at once: %s", out.String())
		case <-ctx.Done():
			cmd.Process.Kill()
			<-done
			return fmt.Errorf("clickhouse did not answer: %w", ctx.Err())
		}
	}
}

// Stop closes the server's standard input, which ends it cleanly, and waits for that.
func (s *Server) Stop(ctx context.Context) error {
	s.rest()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stdin.Close()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("clickhouse did not stop in time and was killed: %w", ctx.Err())
	}
}

// Kill ends the server as a power cut would, and it stays ended.
func (s *Server) Kill() {
	s.rest()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd.Process.Kill()
	<-s.done
	s.stdin.Close()
}

// Crash ends the process as a power cut would, without a word to what watches it: with Options.Restart it comes
// back by itself.
func (s *Server) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd.Process.Kill()
	<-s.done
}

// Signal sends a signal to the process, as a test does that freezes it.
func (s *Server) Signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Signal(sig)
}

// Pid is the id of the process that runs now, for those who count what it uses.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Done is closed when the process that is running now has ended.
func (s *Server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// DSN is the address for clickhouse-go, native protocol, with the writer's password where there is one.
func (s *Server) DSN() string { return s.UserDSN(Writer) }

// UserDSN is the address for a user.
func (s *Server) UserDSN(user string) string {
	u := url.URL{Scheme: "clickhouse", Host: net.JoinHostPort(s.host(), strconv.Itoa(s.tcpPort)), Path: "/" + s.opt.Database}
	if p := s.passwords[user]; p != "" {
		u.User = url.UserPassword(user, p)
	} else if user != Writer {
		u.User = url.User(user)
	}
	return u.String()
}

// Password of a user, empty where none is needed.
func (s *Server) Password(user string) string { return s.passwords[user] }

// HTTPURL is where the HTTP interface answers.
func (s *Server) HTTPURL() string {
	return "http://" + net.JoinHostPort(s.host(), strconv.Itoa(s.httpPort))
}

// ClientCommand is what a person types to query the server. It asks for the password where one is needed.
func (s *Server) ClientCommand() string {
	c := fmt.Sprintf("clickhouse client --host %s --port %d", s.host(), s.tcpPort)
	if s.opt.Database != "default" {
		c += " --database " + s.opt.Database
	}
	if s.Password(Responder) != "" {
		c += " --user " + Responder + " --password"
	}
	return c
}

// host is an address that the server is reached at from here.
func (s *Server) host() string {
	switch ip := net.ParseIP(s.opt.Listen); {
	case !ip.IsUnspecified():
		return s.opt.Listen
	case ip.To4() != nil:
		return "127.0.0.1"
	}
	return "::1"
}

func freePorts(host string, n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("no free port: %w", err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// limited keeps the first bytes written to it.
type limited struct {
	w    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.w.Write(p[:n])
	l.left -= n
	return len(p), nil
}

// config is the server's configuration. Users come from this file only: the library has no writable storage for
// those that SQL makes. Memory is bounded so that a query cannot push out the engine beside it.
func (s *Server) config() ([]byte, error) {
	type user struct{ Name, Hash, Profile, Grant string }
	hash := func(name string) string {
		if p := s.passwords[name]; p != "" {
			sum := sha256.Sum256([]byte(p))
			return hex.EncodeToString(sum[:])
		}
		return ""
	}
	read := fmt.Sprintf("GRANT SELECT ON %s.*", backtick(s.opt.Database))
	var b bytes.Buffer
	err := configXML.Execute(&b, struct {
		Memory, KeepFree int64
		Users            []user
	}{s.opt.Memory, s.opt.KeepFree, []user{
		{Writer, hash(Writer), "default", ""},
		{Analyst, hash(Analyst), "reader", fmt.Sprintf("%s; GRANT INSERT ON %[2]s.alert_actions; GRANT INSERT ON %[2]s.suppressions; GRANT INSERT ON %[2]s.dead_letter_actions", read, backtick(s.opt.Database))},
		{Responder, hash(Responder), "reader", read},
	}})
	return b.Bytes(), err
}

func backtick(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

var configXML = template.Must(template.New("config").Funcs(template.FuncMap{"split": strings.Split}).Parse(`<clickhouse>
  <logger><level>none</level></logger>
  <max_server_memory_usage>{{.Memory}}</max_server_memory_usage>
  <mark_cache_size>268435456</mark_cache_size>
  <storage_configuration><disks><default><keep_free_space_bytes>{{.KeepFree}}</keep_free_space_bytes></default></disks></storage_configuration>
  <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
  <users_config>config.xml</users_config>
  <profiles>
    <default><async_insert>0</async_insert></default>
    <reader>
      <async_insert>0</async_insert><max_execution_time>60</max_execution_time><max_memory_usage>1000000000</max_memory_usage>
      <constraints><max_execution_time><max>300</max></max_execution_time><max_memory_usage><max>1000000000</max></max_memory_usage></constraints>
    </reader>
  </profiles>
  <users>
    <default><password></password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks><profile>default</profile><quota>default</quota></default>
{{- range .Users}}
    <{{.Name}}>
      {{- if .Hash}}<password_sha256_hex>{{.Hash}}</password_sha256_hex><networks><ip>::/0</ip></networks>
      {{- else}}<password></password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks>{{end -}}
      <profile>{{.Profile}}</profile><quota>default</quota>
      {{- if .Grant}}<grants>{{range split .Grant "; "}}<query>{{html .}}</query>{{end}}</grants>{{end -}}
    </{{.Name}}>
{{- end}}
  </users>
  <quotas><default/></quotas>
</clickhouse>
`))

var errNoPlatform = errors.New("no embedded ClickHouse for this platform: put a clickhouse binary on the PATH, or give a DSN")
