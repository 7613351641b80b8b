// Package kraft runs Apache Kafka itself for tests: one broker or several in KRaft mode, each a Java process on loopback.
//
// The broker's files come through Maven and are checked against the hashes in kraft.lock; Java 17 or later has to be
// there. A broker keeps its data and ports over Kill and Start, so that a test can take it away and bring it back.
// Every broker has the same five listeners, and certificates that are made for the cluster.
package kraft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Listener is a way to connect to a broker.
type Listener string

// The listeners. User and Password are what the last two ask for.
const (
	Plain Listener = "PLAINTEXT" // neither encrypted nor authenticated
	TLS   Listener = "TLS"       // encrypted; the client checks the broker's certificate
	MTLS  Listener = "MTLS"      // encrypted; the broker checks the client's certificate too
	SASL  Listener = "SASLPLAIN" // encrypted, SASL/PLAIN
	SCRAM Listener = "SCRAM"     // not encrypted, SCRAM-SHA-512
)

var listeners = []Listener{Plain, TLS, MTLS, SASL, SCRAM}

// Who the listeners with a password let in.
const (
	User     = "astray"
	Password = "s3cret-of-a-test"
)

// Options of a cluster.
type Options struct {
	Dir      string            // where data is kept; must exist
	Brokers  int               // default 1
	Cache    string            // where the broker's files are kept; the user's cache directory when empty
	Log      io.Writer         // what brokers print at level WARN; discarded when nil
	Settings map[string]string // further broker settings, by Kafka's names
}

// Cluster is a running Kafka.
type Cluster struct {
	Certificates Certificates
	nodes        []*node
}

type node struct {
	id    int
	dir   string
	lib   string
	ports map[Listener]int
	log   io.Writer

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	out  *tail
}

const (
	cluster    = "QXN0cmF5VGVzdENsdXN0ZQ" // 16 bytes in URL-safe base64, as Kafka wants the name of a cluster
	controller = "CONTROLLER"
)

// Start starts a cluster and waits until every broker answers. It returns ErrNotHere where there is no Java.
func Start(ctx context.Context, opt Options) (*Cluster, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotHere, err)
	}
	lib, err := Files(ctx, opt.Cache)
	if err != nil {
		return nil, err
	}
	n := max(opt.Brokers, 1)
	ports, err := freePorts(n * (len(listeners) + 1))
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	if c.Certificates, err = makeCertificates(opt.Dir); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	var voters []string
	var control []int
	for id := range n {
		nd := &node{id: id + 1, lib: lib, dir: filepath.Join(opt.Dir, fmt.Sprint("broker-", id+1)), ports: map[Listener]int{}, log: opt.Log}
		if nd.log == nil {
			nd.log = io.Discard
		}
		for _, l := range listeners {
			nd.ports[l], ports = ports[0], ports[1:]
		}
		control, ports = append(control, ports[0]), ports[1:]
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", nd.id, control[id]))
		c.nodes = append(c.nodes, nd)
	}
	for i, nd := range c.nodes {
		if err := nd.prepare(control[i], strings.Join(voters, ","), c.Certificates, n, opt.Settings); err != nil {
			return nil, err
		}
	}
	if err := c.each(func(nd *node) error { return nd.format(ctx) }); err != nil {
		return nil, err
	}
	if err := c.each(func(nd *node) error { return nd.start(ctx) }); err != nil {
		c.Kill()
		return nil, err
	}
	return c, nil
}

// each calls f for every node at once.
func (c *Cluster) each(f func(*node) error) error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, nd := range c.nodes {
		wg.Go(func() { errs[i] = f(nd) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Brokers are the addresses of all brokers at a listener.
func (c *Cluster) Brokers(l Listener) []string {
	var out []string
	for _, nd := range c.nodes {
		out = append(out, net.JoinHostPort("127.0.0.1", strconv.Itoa(nd.ports[l])))
	}
	return out
}

// KillBroker ends a broker as a power cut of its process would; ids count from 1.
func (c *Cluster) KillBroker(id int) { c.nodes[id-1].kill() }

// StartBroker starts a broker that was killed, on the same ports and data, and waits until it answers.
func (c *Cluster) StartBroker(ctx context.Context, id int) error { return c.nodes[id-1].start(ctx) }

// Kill ends all brokers.
func (c *Cluster) Kill() {
	for _, nd := range c.nodes {
		nd.kill()
	}
}

// prepare writes what a broker is configured with.
func (nd *node) prepare(control int, voters string, certs Certificates, brokers int, more map[string]string) error {
	if err := os.MkdirAll(nd.dir, 0o700); err != nil {
		return err
	}
	// Few copies of what the cluster itself writes are enough, and all of them when there are several brokers.
	copies := strconv.Itoa(min(brokers, 3))
	quorum := strconv.Itoa(min(brokers, 2))
	addresses := []string{fmt.Sprintf("%s://127.0.0.1:%d", controller, control)}
	var advertised []string
	for _, l := range listeners {
		a := fmt.Sprintf("%s://127.0.0.1:%d", l, nd.ports[l])
		addresses, advertised = append(addresses, a), append(advertised, a)
	}
	set := map[string]string{
		"process.roles": "broker,controller", "node.id": strconv.Itoa(nd.id), "controller.quorum.voters": voters,
		"controller.listener.names": controller, "inter.broker.listener.name": string(Plain),
		"listeners": strings.Join(addresses, ","), "advertised.listeners": strings.Join(advertised, ","),
		"listener.security.protocol.map": controller + ":PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,MTLS:SSL,SASLPLAIN:SASL_SSL,SCRAM:SASL_PLAINTEXT",
		"log.dirs":                       filepath.Join(nd.dir, "data"),

		"num.partitions": "1", "default.replication.factor": copies, "min.insync.replicas": quorum,
		"offsets.topic.replication.factor": copies, "offsets.topic.num.partitions": "4",
		"transaction.state.log.replication.factor": copies, "transaction.state.log.min.isr": quorum, "transaction.state.log.num.partitions": "2",
		"share.coordinator.state.topic.replication.factor": copies, "share.coordinator.state.topic.min.isr": quorum,
		"auto.create.topics.enable": "false", "delete.topic.enable": "true",
		"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "100",
		// Processes that were killed are to be found out soon.
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500", "replica.lag.time.max.ms": "3000",
		"controller.quorum.election.timeout.ms": "500", "controller.quorum.fetch.timeout.ms": "1000",
		"controlled.shutdown.enable": "false", "log.segment.delete.delay.ms": "100", "log.retention.check.interval.ms": "1000",
		"num.io.threads": "4", "num.network.threads": "2", "log.cleaner.enable": "false",

		"ssl.client.auth": "none", "listener.name.mtls.ssl.client.auth": "required",
		"ssl.keystore.type": "PEM", "ssl.keystore.location": certs.broker, "ssl.truststore.type": "PEM", "ssl.truststore.location": certs.CA,

		"listener.name.saslplain.sasl.enabled.mechanisms": "PLAIN",
		"listener.name.saslplain.plain.sasl.jaas.config": fmt.Sprintf(
			`org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="%s" user_%s="%[1]s";`, Password, User),
		"listener.name.scram.sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"listener.name.scram.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
	}
	for k, v := range more {
		set[k] = v
	}
	var b bytes.Buffer
	for k, v := range set {
		fmt.Fprintf(&b, "%s=%s\n", k, strings.ReplaceAll(v, `\`, `\\`))
	}
	if err := os.WriteFile(filepath.Join(nd.dir, "server.properties"), b.Bytes(), 0o600); err != nil {
		return err
	}
	const logging = "rootLogger.level = WARN\nrootLogger.appenderRef.out.ref = out\nappender.out.type = Console\nappender.out.name = out\n" +
		"appender.out.layout.type = PatternLayout\nappender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n%throwable{short}\n"
	return os.WriteFile(filepath.Join(nd.dir, "log4j2.properties"), []byte(logging), 0o600)
}

// java returns the command that runs a class of the broker's files, as small and as quickly started as it can be.
func (nd *node) java(class string, args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{"-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + filepath.Join(nd.dir, "log4j2.properties"), "-cp", filepath.Join(nd.lib, "*"), class}, args...)...)
	cmd.Dir = nd.dir
	cmd.SysProcAttr = childAttributes()
	return cmd
}

// format makes the broker's storage, with the user of the SCRAM listener in it.
func (nd *node) format(ctx context.Context) error {
	cmd := nd.java("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", filepath.Join(nd.dir, "server.properties"),
		"--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", User, Password))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := start(cmd); err != nil {
		return fmt.Errorf("kafka: format the storage: %w", err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("kafka: format the storage: %w: %.2000s", err, out.Bytes())
	}
	return nil
}

// start starts the broker's process and waits until its listeners are open, which they are when it can serve.
func (nd *node) start(ctx context.Context) error {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.done != nil {
		select {
		case <-nd.done:
		default:
			return fmt.Errorf("kafka: broker %d is running", nd.id)
		}
	}
	cmd := nd.java("kafka.Kafka", filepath.Join(nd.dir, "server.properties"))
	nd.out = &tail{max: 8 << 10}
	w := io.MultiWriter(nd.log, nd.out)
	cmd.Stdout, cmd.Stderr = w, w
	if err := start(cmd); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	nd.cmd, nd.done = cmd, done
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for left := listeners; len(left) > 0; {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nd.ports[left[0]])), time.Second)
		if err == nil {
			conn.Close()
			left = left[1:]
			continue
		}
		select {
		case <-tick.C:
		case <-done:
			return fmt.Errorf("kafka: broker %d ended at once: %s", nd.id, nd.out)
		case <-ctx.Done():
			cmd.Process.Kill()
			<-done
			return fmt.Errorf("kafka: broker %d did not answer: %w: %s", nd.id, ctx.Err(), nd.out)
		}
	}
	return nil
}

func (nd *node) kill() {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if nd.cmd == nil {
		return
	}
	nd.cmd.Process.Kill()
	<-nd.done
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

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	max int
	b   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = t.b[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
