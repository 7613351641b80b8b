// Endtoend measures what it costs to bring events from a topic into ClickHouse, and how long it takes until an alert stands
// there.
//
// A broker process holds a topic of simulated events, an embedded ClickHouse takes them, and one process after the other
// works through the whole topic into a database of its own:
//
//	engine     astray run as the only instance (detect.links: local), all detectors on
//	topic      the same as one instance of any number (detect.links: topic)
//	no-detect  the first without a detector: decode, features, exactly-once
//	plain      a consumer group, the same decoder, clickhouse-go's columns in blocks of 50,000; no features, no
//	           checkpoint, no exactly-once: the least that anybody would write
//
// Rounds are shuffled, so that what the machine does besides meets each of them. CPU is that of the process and of the
// server while it ran; the broker's is nobody's. Memory is the most that the process had resident. Then the topic of a
// second run gets events at a steady rate, with secrets among them, each of which is an alert; the time from the
// producer's acknowledged write to the row is measured.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/cmd/internal/app"
	"github.com/astray-dev/astray/deploy/embedded"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/ingest/clickhouse"
	"github.com/astray-dev/astray/ingest/decode"
	"github.com/astray-dev/astray/ingest/event"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/simulate"
)

const partitions = 2

// roles are what a process of this program can be; the first argument names it.
var roles = map[string]func(ctx context.Context, stop <-chan struct{}, j job) error{
	"broker": broker,
	"engine": func(ctx context.Context, stop <-chan struct{}, j job) error { return app.Run(ctx, stop, j.config()) },
	"topic": func(ctx context.Context, stop <-chan struct{}, j job) error {
		cfg := j.config()
		cfg.Links = app.LinksTopic
		return app.Run(ctx, stop, cfg)
	},
	"no-detect": func(ctx context.Context, stop <-chan struct{}, j job) error {
		cfg := j.config()
		cfg.Detectors = []string{catalog.None}
		return app.Run(ctx, stop, cfg)
	},
	"plain": plain,
}

// allWays are the roles that are measured.
func allWays() []string { return []string{"engine", "topic", "no-detect", "plain"} }

// job is what a process is told.
type job struct {
	Brokers    []string
	DSN, Topic string
	Group      string
	Profile    string // file for a CPU profile; none if empty
}

func (j job) config() app.Config {
	return app.Config{Brokers: j.Brokers, DSN: j.DSN, Group: j.Group, EventsTopic: j.Topic, Partitions: partitions, DuplicateWindow: 500_000,
		Links: app.LinksLocal}
}

// play is what this process does when it was started to play a role, and false when it was not.
func play(ctx context.Context) bool {
	embedded.MaybeChild()
	if len(os.Args) != 3 || roles[os.Args[1]] == nil {
		return false
	}
	var j job
	err := json.Unmarshal([]byte(os.Args[2]), &j)
	if err == nil {
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // its end is the signal to stop, whatever ends it
			close(ended)
		}()
		err = profiled(j.Profile, func() error { return roles[os.Args[1]](ctx, ended, j) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
	return true
}

// profiled runs f and writes what it used the CPU for to a file, if one is named.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if play(ctx) {
		return
	}
	var b bench
	flag.IntVar(&b.events, "events", 5_000_000, "how many `events` the topic holds")
	flag.IntVar(&b.rounds, "rounds", 3, "how often each way is measured")
	flag.IntVar(&b.agents, "agents", 2000, "agents of the simulated world")
	flag.IntVar(&b.rate, "rate", 10_000, "events a second while latency is measured; 0: it is not")
	flag.DurationVar(&b.span, "span", 30*time.Second, "how long latency is measured")
	flag.StringVar(&b.profiles, "profiles", "", "`directory` for a CPU profile of each process that is measured")
	ways := flag.String("ways", strings.Join(allWays(), ","), "what is measured")
	flag.Parse()
	b.ways = strings.Split(*ways, ",")
	if flag.NArg() > 0 || b.events < 1 || b.rounds < 0 || b.agents < 20 || b.rate < 0 ||
		slices.ContainsFunc(b.ways, func(w string) bool { return !slices.Contains(allWays(), w) }) {
		flag.Usage()
		os.Exit(2)
	}
	b.out = os.Stdout
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "endtoend:", err)
		os.Exit(1)
	}
}

type bench struct {
	events, rounds, agents, rate int
	span                         time.Duration
	ways                         []string
	profiles                     string
	out                          io.Writer

	brokers []string
	server  *embedded.Server
	admin   driver.Conn
}

func (b *bench) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "astray-endtoend-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.server, err = embedded.StartClickHouse(ctx, embedded.Options{Dir: dir}); err != nil {
		return err
	}
	defer b.server.Kill()
	if b.admin, err = open(b.server.DSN()); err != nil {
		return err
	}
	defer b.admin.Close()
	kept, err := spawn("broker", job{})
	if err != nil {
		return err
	}
	defer kept.end()
	if b.brokers, err = kept.addresses(); err != nil {
		return err
	}

	start := time.Now()
	size, err := b.fill(ctx, "past")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d events of %d agents, %.0f bytes each, in %d partitions, lz4; written in %.0f s\n",
		b.events, b.agents, float64(size)/float64(b.events), partitions, time.Since(start).Seconds())
	seen := map[string][]result{}
	ways := slices.Clone(b.ways)
	order := rand.New(rand.NewPCG(1, 1))
	for round := range b.rounds {
		order.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		for _, way := range ways {
			r, err := b.measure(ctx, way, round)
			if err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			fmt.Fprintf(b.out, "round %d  %-9s  %s\n", round+1, way, r)
			seen[way] = append(seen[way], r)
		}
	}
	if b.rounds > 0 {
		fmt.Fprintf(b.out, "\n%-10s %12s %16s %16s %16s %12s\n", "median", "M rows/s", "CPU s/M, process", "CPU s/M, server", "CPU s/M, both", "MiB at most")
		for _, way := range b.ways {
			rs := seen[way]
			m := func(f func(result) float64) float64 {
				xs := make([]float64, len(rs))
				for i, r := range rs {
					xs[i] = f(r)
				}
				slices.Sort(xs)
				return xs[len(xs)/2]
			}
			fmt.Fprintf(b.out, "%-10s %12.3f %16.2f %16.2f %16.2f %12.0f\n", way, m(func(r result) float64 { return r.rate() / 1e6 }),
				m(result.process), m(result.database), m(func(r result) float64 { return r.process() + r.database() }),
				m(func(r result) float64 { return float64(r.peak >> 10) }))
		}
	}
	if b.rate == 0 {
		return nil
	}
	return b.latency(ctx)
}

// fill writes the simulated past onto a topic.
func (b *bench) fill(ctx context.Context, topic string) (bytes int64, err error) {
	bus := kafka.Config{Brokers: b.brokers}
	if err := kafka.CreateTopics(ctx, bus, kafka.TopicSpec{Name: topic, Partitions: partitions}); err != nil {
		return 0, err
	}
	producer, err := kafka.NewProducer(bus, topic)
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	world, err := simulate.New(simulate.Config{Agents: b.agents, Days: 3650, Seed: 1, Start: time.Now().AddDate(0, 0, -30)})
	if err != nil {
		return 0, err
	}
	var ev event.Event
	var messages []kafka.Message
	for n := 0; n < b.events; {
		messages = messages[:0]
		for len(messages) < 5000 && n < b.events {
			if !world.Next(&ev) {
				return bytes, fmt.Errorf("the world ended after %d events", n)
			}
			n++
			m := kafka.Message{Key: []byte(ev.AgentID), Value: decode.AppendEvent(nil, &ev)}
			bytes += int64(len(m.Value))
			messages = append(messages, m)
		}
		if err := producer.Produce(ctx, messages...); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
}

// result is what one way took for all events.
type result struct {
	events         int
	wall           time.Duration
	own, servers   time.Duration // CPU
	peak           int           // the most memory that the process had, KiB
	stored, alerts uint64
}

func (r result) rate() float64     { return float64(r.events) / r.wall.Seconds() }
func (r result) process() float64  { return r.own.Seconds() / float64(r.events) * 1e6 }
func (r result) database() float64 { return r.servers.Seconds() / float64(r.events) * 1e6 }

func (r result) String() string {
	return fmt.Sprintf("%.3f M rows/s, CPU s per million: %.2f process + %.2f server, %d MiB at most, %d rows, %d alerts",
		r.rate()/1e6, r.process(), r.database(), r.peak>>10, r.stored, r.alerts)
}

// measure works through the topic one way, into a database of its own.
func (b *bench) measure(ctx context.Context, way string, round int) (r result, err error) {
	name := fmt.Sprintf("%s_%d", strings.ReplaceAll(way, "-", "_"), round)
	dsn, err := b.database(ctx, name)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.admin.Exec(ctx, "DROP DATABASE "+name)) }()
	used, err := usage(b.server.Pid())
	if err != nil {
		return r, err
	}
	start := time.Now()
	j := job{Brokers: b.brokers, DSN: dsn, Topic: "past", Group: name}
	if b.profiles != "" {
		j.Profile = filepath.Join(b.profiles, name+".pprof")
	}
	p, err := spawn(way, j)
	if err != nil {
		return r, err
	}
	defer p.end()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for r.stored < uint64(b.events) {
		select {
		case <-p.ended:
			return r, fmt.Errorf("it ended by itself: %w", cmp.Or(p.err, errors.New("with nothing to say")))
		case <-ctx.Done():
			return r, ctx.Err()
		case <-tick.C:
		}
		// The sum over the parts costs the server next to nothing.
		if err := b.admin.QueryRow(ctx, "SELECT sum(rows) FROM system.parts WHERE active AND table = 'events' AND database = ?", name).Scan(&r.stored); err != nil {
			return r, err
		}
	}
	r.events, r.wall = b.events, time.Since(start)
	if r.peak, err = peak(p.cmd.Process.Pid); err != nil {
		return r, err
	}
	if r.own, err = p.end(); err != nil {
		return r, err
	}
	after, err := usage(b.server.Pid())
	if err != nil {
		return r, err
	}
	r.servers = after - used
	return r, b.admin.QueryRow(ctx, "SELECT uniqExact(id) FROM "+name+".alerts").Scan(&r.alerts)
}

// database makes one with the schema and returns its address.
func (b *bench) database(ctx context.Context, name string) (dsn string, err error) {
	if err := b.admin.Exec(ctx, "CREATE DATABASE "+name+" ENGINE = Atomic"); err != nil {
		return "", err
	}
	u, err := url.Parse(b.server.DSN())
	if err != nil {
		return "", err
	}
	u.Path = name
	_, err = clickhouse.Migrate(ctx, u.String())
	return u.String(), err
}

// latency writes events at a steady rate, secrets among them, and tells how long it took until each secret's alert was a row.
func (b *bench) latency(ctx context.Context) (err error) {
	const every = 20 // secrets a second
	dsn, err := b.database(ctx, "latency")
	if err != nil {
		return err
	}
	conn, err := open(dsn)
	if err != nil {
		return err
	}
	defer conn.Close()
	bus := kafka.Config{Brokers: b.brokers}
	if err := kafka.CreateTopics(ctx, bus, kafka.TopicSpec{Name: "now", Partitions: partitions}); err != nil {
		return err
	}
	producer, err := kafka.NewProducer(bus, "now")
	if err != nil {
		return err
	}
	defer producer.Close()
	p, err := spawn("engine", job{Brokers: b.brokers, DSN: dsn, Topic: "now", Group: "latency"})
	if err != nil {
		return err
	}
	defer p.end()
	world, err := simulate.New(simulate.Config{Agents: b.agents, Days: 3650, Seed: 2, Attacks: []string{"none"}})
	if err != nil {
		return err
	}
	written := map[string]time.Time{} // agent with a secret: when its post was acknowledged
	took := map[string]time.Duration{}
	look := func() error {
		rows, err := conn.Query(ctx, "SELECT DISTINCT entity_id FROM alerts WHERE detector = 'secret-exposure'")
		if err != nil {
			return err
		}
		defer rows.Close()
		now := time.Now()
		for rows.Next() {
			var agent string
			if err := rows.Scan(&agent); err != nil {
				return err
			}
			if at, ok := written[agent]; ok {
				if _, ok := took[agent]; !ok {
					took[agent] = now.Sub(at)
				}
			}
		}
		return rows.Err()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	random := rand.New(rand.NewPCG(5, 5))
	var ev event.Event
	sent, leaks := 0, 0
	begin := time.Now()
	// The first seconds the engine is still joining its group: they are not counted.
	for warm := 5 * time.Second; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("the engine ended: %w", cmp.Or(p.err, errors.New("with nothing to say")))
		}
		elapsed := time.Since(begin)
		if elapsed > warm+b.span+2*time.Second {
			break
		}
		var messages []kafka.Message
		var leakers []string
		for sent < int(min(elapsed, warm+b.span).Seconds()*float64(b.rate)) && world.Next(&ev) {
			sent++
			ev.Time = time.Now().UnixMicro()
			if elapsed > warm && leaks < int((elapsed-warm).Seconds()*every) {
				leaks++
				key := make([]byte, 36)
				for i := range key {
					key[i] = letters[random.IntN(len(letters))]
				}
				ev.Reset()
				ev.ID, ev.Time, ev.Kind, ev.AgentID = "leak-"+strconv.Itoa(leaks), time.Now().UnixMicro(), event.Post, "leaker-"+strconv.Itoa(leaks)
				ev.Action, ev.Service, ev.Content = "post.create", "feed", "my key is ghp_"+string(key)
				leakers = append(leakers, ev.AgentID)
			}
			messages = append(messages, kafka.Message{Key: []byte(ev.AgentID), Value: decode.AppendEvent(nil, &ev)})
		}
		if len(messages) > 0 {
			if err := producer.Produce(ctx, messages...); err != nil {
				return err
			}
		}
		for _, who := range leakers {
			written[who] = time.Now()
		}
		if err := look(); err != nil {
			return err
		}
	}
	if _, err := p.end(); err != nil {
		return err
	}
	if len(took) == 0 {
		return errors.New("no alert stood in the table")
	}
	all := make([]time.Duration, 0, len(took))
	for _, d := range took {
		all = append(all, d)
	}
	slices.Sort(all)
	q := func(x float64) time.Duration {
		return all[min(int(x*float64(len(all))), len(all)-1)].Round(time.Millisecond)
	}
	fmt.Fprintf(b.out, "\nfrom an acknowledged event to its alert's row at %d events/s: %d of %d alerts, p50 %v, p99 %v, slowest %v\n",
		b.rate, len(took), leaks, q(0.5), q(0.99), q(1))
	return nil
}

// process is a child that plays a role.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	ended chan struct{}
	err   error
}

func spawn(role string, j job) (*process, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, role, string(text)), ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.out = w, bufio.NewReader(r)
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), w.Close())
		close(p.ended)
	}()
	return p, nil
}

// end lets the process finish what it has begun and returns the CPU that it used in all.
func (p *process) end() (time.Duration, error) {
	_ = p.stdin.Close() // closed already when it was ended before
	<-p.ended
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), p.err
}

// addresses are what a broker tells on its first line.
func (p *process) addresses() (out []string, err error) {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the broker: %w", err)
	}
	return out, json.Unmarshal(bytes.TrimSpace(line), &out)
}

// broker holds topics in memory until it is to stop.
func broker(ctx context.Context, stop <-chan struct{}, _ job) error {
	k, err := embedded.StartKafka(embedded.KafkaOptions{})
	if err != nil {
		return err
	}
	defer k.Stop()
	line, err := json.Marshal(k.Brokers())
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	select {
	case <-stop:
	case <-ctx.Done():
	}
	return nil
}

// usage is the CPU that a process has used, as the kernel counts it.
func usage(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Fields are counted behind the name, which is in brackets and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// peak is the most memory that a process has had resident so far, in KiB.
func peak(pid int) (int, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				return 0, fmt.Errorf("%s: VmHWM: %w", name, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: no VmHWM", name)
}

func open(dsn string) (driver.Conn, error) {
	o, err := native.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	return native.Open(o)
}
