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
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	childLib  = "ASTRAY_EMBEDDED_CHDB"
	keepAlive = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT count() FROM file('stdin','LineAsString','line String') FORMAT Null"
)

// Options of a ClickHouse server.
type Options struct {
	Dir      string // data directory; must exist
	Cache    string // where a fetched library is kept; the user's cache directory when empty
	Progress func(what string, done, total int64)
	Log      io.Writer // what the server prints; discarded when nil
}

// Server is a running ClickHouse that answers on loopback.
type Server struct {
	opt               Options
	tcpPort, httpPort int

	mu    sync.Mutex
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when the process has ended
}

// StartClickHouse starts a server and waits until it answers.
func StartClickHouse(ctx context.Context, opt Options) (*Server, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{opt: opt, tcpPort: ports[0], httpPort: ports[1]}
	if s.opt.Log == nil {
		s.opt.Log = io.Discard
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Start starts the process on the same ports and data again, after Kill or Stop.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := filepath.Join(s.opt.Dir, "config.xml")
	if err := os.WriteFile(config, []byte(configXML), 0o600); err != nil {
		return err
	}
	args := []string{"local", "--path=" + s.opt.Dir, "--listen_host=127.0.0.1",
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
	if err := cmd.Start(); err != nil {
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

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.done
	s.stdin.Close()
}

// Done is closed when the process that is running now has ended.
func (s *Server) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// DSN is the address for clickhouse-go, native protocol.
func (s *Server) DSN() string { return fmt.Sprintf("clickhouse://127.0.0.1:%d/default", s.tcpPort) }

// HTTPURL is where the HTTP interface answers.
func (s *Server) HTTPURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.httpPort) }

// ClientCommand is what a person types to query the server.
func (s *Server) ClientCommand() string {
	return fmt.Sprintf("clickhouse client --host 127.0.0.1 --port %d", s.tcpPort)
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
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

// configXML: users come from the file only; the server is for loopback, so there is one without a password.
// Memory is bounded so that a query cannot push out the engine beside it.
const configXML = `<clickhouse>
  <logger><level>none</level></logger>
  <max_server_memory_usage>4000000000</max_server_memory_usage>
  <mark_cache_size>268435456</mark_cache_size>
  <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
  <users_config>config.xml</users_config>
  <profiles><default><async_insert>0</async_insert></default></profiles>
  <users><default><password></password><networks><ip>127.0.0.1</ip><ip>::1</ip></networks><profile>default</profile><quota>default</quota></default></users>
  <quotas><default/></quotas>
</clickhouse>
`

var errNoPlatform = errors.New("no embedded ClickHouse for this platform: put a clickhouse binary on the PATH, or give a DSN")
