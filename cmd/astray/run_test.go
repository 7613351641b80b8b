//go:build !windows

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/deploy/embedded/embeddedtest"
	"github.com/astray-dev/astray/ingest/kafka"
)

// astrayEnv makes this executable the program itself, so that tests can send signals to it.
const astrayEnv = "ASTRAY_TEST_PROGRAM"

func maybeAstray() {
	if os.Getenv(astrayEnv) == "" {
		return
	}
	if err := os.Unsetenv(astrayEnv); err != nil {
		panic(err)
	}
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// program is astray as a process.
type program struct {
	cmd   *exec.Cmd
	lines chan string // what it logs
	ended chan struct{}
	mu    sync.Mutex
	log   strings.Builder
}

// patience is how long one step may take, on a machine that is busy with other things.
const patience = 90 * time.Second

func launch(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 10_000), ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), astrayEnv+"=1"), env...)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.log, s.Text())
			p.mu.Unlock()
			select {
			case p.lines <- s.Text():
			default: // nobody looks at them any more
			}
		}
		_ = p.cmd.Wait() // ProcessState has it
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("astray %s:\n%s", strings.Join(args, " "), p.log.String())
		}
	})
	return p
}

// says waits for a line of the log that contains all of the texts.
func (p *program) says(t *testing.T, texts ...string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
next:
	for {
		select {
		case line := <-p.lines:
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue next
				}
			}
			return
		case <-p.ended:
			t.Fatalf("it ended before it said %q", texts)
		case <-deadline.C:
			t.Fatalf("it did not say %q in %v", texts, patience)
		}
	}
}

func (p *program) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// end waits for the end and returns the exit status.
func (p *program) end(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("it did not end in %v", patience)
		return -1
	}
}

// port is one that nobody listens on.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ready asks /readyz until the status is as wanted.
func ready(t *testing.T, ctx context.Context, at string, want int) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Timeout: 10 * time.Second}
	last := ""
	for {
		if res, err := client.Get("http://" + at + "/readyz"); err == nil {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && res.StatusCode == want {
				return string(body)
			}
			last = fmt.Sprint(res.StatusCode, " ", string(body), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("/readyz was never %d: %s", want, last)
		}
	}
}

// A database and a broker that come up after Astray are waited for, and each is named in the log; until then it
// is alive and not ready. With both there it works, and stops when it is told to.
func TestRunWaitsForWhatIsNotThereYet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	database, http, broker, listen := port(t), port(t), port(t), "127.0.0.1:"+strconv.Itoa(port(t))
	p := launch(t, []string{"ASTRAY_HTTP_LISTEN=" + listen}, "run", "--config", "../../deploy/astray.yaml",
		"--clickhouse-dsn", fmt.Sprintf("clickhouse://127.0.0.1:%d/default", database), "--kafka", fmt.Sprintf("127.0.0.1:%d", broker))
	p.says(t, "cannot start yet", "waiting_for=ClickHouse", "attempt=2", "connection refused")
	if body := ready(t, ctx, listen, 503); !strings.Contains(body, "schema: ") {
		t.Errorf("/readyz: %q", body)
	}
	embeddedtest.ClickHouse(ctx, t, embedded.Options{TCPPort: database, HTTPPort: http})
	p.says(t, "it is there now", "what=ClickHouse")
	p.says(t, "cannot start yet", "waiting_for=Kafka", "attempt=2")
	ready(t, ctx, listen, 503)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	p.says(t, "it is there now", "what=Kafka")
	ready(t, ctx, listen, 200)
	p.signal(t, syscall.SIGTERM)
	if code := p.end(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestRunStopsWhileItWaits(t *testing.T) {
	p := launch(t, []string{"ASTRAY_HTTP_LISTEN=off"}, "run", "--clickhouse-dsn", "clickhouse://127.0.0.1:1/astray", "--kafka", "127.0.0.1:1")
	p.says(t, "waiting_for=ClickHouse", "attempt=3")
	p.signal(t, syscall.SIGINT)
	if code := p.end(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// The database is frozen with rows on their way to it. The first signal asks for an orderly end, which hangs; the second
// ends the process though the database still does not answer.
func TestTheSecondSignalEndsItAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := embeddedtest.ClickHouse(ctx, t, embedded.Options{})
	cluster := embeddedtest.Kafka(t, 1, []string{"agent.events"})
	brokers := cluster.ListenAddrs()
	listen := "127.0.0.1:" + strconv.Itoa(port(t))
	p := launch(t, []string{"ASTRAY_HTTP_LISTEN=" + listen, "ASTRAY_CLICKHOUSE_INSERT_TIMEOUT=2s"}, "run",
		"--clickhouse-dsn", server.DSN(), "--kafka", strings.Join(brokers, ","))
	ready(t, ctx, listen, 200)
	p.says(t, "partition taken over")
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	producer, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, "agent.events")
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Produce(ctx, kafka.Message{Value: []byte(`{"id":"e1","time":"2026-03-27T10:00:00Z","kind":"api_call","agent_id":"a","action":"post.get"}`)}); err != nil {
		t.Fatal(err)
	}
	p.says(t, "trying again; reading pauses meanwhile")
	p.signal(t, syscall.SIGINT)
	p.says(t, "A second signal stops at once")
	select {
	case <-p.ended:
		t.Fatal("it ended at the first signal, with rows that are not written")
	default:
	}
	begin := time.Now()
	p.signal(t, syscall.SIGINT)
	if code := p.end(t); code != 1 {
		t.Errorf("exit status %d", code)
	}
	t.Logf("ended %v after the second signal", time.Since(begin).Round(time.Millisecond))
}
