package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
	"github.com/astray-dev/astray/ingest/kafka"
	"github.com/astray-dev/astray/ingest/pipeline"
)

// DefaultInsertTimeout bounds an insert. It must be shorter than the group's session time-out: an owner that was
// frozen for longer than that then cannot have an insert under way.
const DefaultInsertTimeout = 20 * time.Second

// Store is the engine's side of the database: events, states and checkpoints. It is safe for use by several
// goroutines; each Block is one goroutine's.
type Store struct {
	conn          driver.Conn
	dial          ch.Options
	insertTimeout time.Duration
	log           *slog.Logger
	id            string // of this store, in its query ids
	queries       atomic.Uint64
	stateBlocks   sync.Pool // of *stateBlock, whose columns have grown to what a checkpoint takes

	mu     sync.Mutex
	idle   []*ch.Client
	closed bool
	saves  map[string]int // by partition: checkpoints since its states were pruned
}

var (
	_ pipeline.Store    = (*Store)(nil)
	_ pipeline.Recaller = (*Store)(nil)
)

const (
	maxIdle    = 16
	pruneEvery = 64 // checkpoints
)

// Options of a Store. The zero value of a field but DSN means its default.
type Options struct {
	DSN           string        // clickhouse://user:password@host:port/database
	InsertTimeout time.Duration // default DefaultInsertTimeout
	Log           *slog.Logger  // default: discarded
}

// Open connects to the database of the DSN.
func Open(ctx context.Context, dsn string) (*Store, error) { return OpenWith(ctx, Options{DSN: dsn}) }

// OpenWith is Open with options.
func OpenWith(ctx context.Context, o Options) (*Store, error) {
	if o.InsertTimeout <= 0 {
		o.InsertTimeout = DefaultInsertTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	opt, err := native.ParseDSN(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("clickhouse DSN: %w", redact(err))
	}
	conn, err := native.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	if err := conn.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("clickhouse at %s: %w", strings.Join(opt.Addr, ","), err), conn.Close())
	}
	return &Store{conn: conn, insertTimeout: o.InsertTimeout, log: o.Log, id: uuid.NewString(), saves: map[string]int{},
		stateBlocks: sync.Pool{New: func() any { return newStateBlock() }}, dial: ch.Options{
			Address: opt.Addr[0], Database: opt.Auth.Database, User: opt.Auth.Username, Password: opt.Auth.Password,
			Compression: compression(opt), TLS: opt.TLS, ClientName: "astray", DialTimeout: 5 * time.Second,
			// The deadline of each call counts. The default would cut off an insert that takes more than three seconds.
			ReadTimeout: ch.NoTimeout,
		}}, nil
}

// compression is how blocks are sent: as the DSN says; without a word of it packed by LZ4 over a network, and as they are to a
// server on this machine, where packing and unpacking cost more than what is carried.
func compression(opt *native.Options) ch.Compression {
	if c := opt.Compression; c != nil {
		switch c.Method {
		case native.CompressionLZ4:
			return ch.CompressionLZ4
		case native.CompressionZSTD:
			return ch.CompressionZSTD
		case native.CompressionNone:
			return ch.CompressionDisabled
		}
		return ch.CompressionLZ4
	}
	host, _, err := net.SplitHostPort(opt.Addr[0])
	if err != nil {
		return ch.CompressionLZ4
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return ch.CompressionDisabled
	}
	return ch.CompressionLZ4
}

// CheckDSN reports what is wrong with a DSN, without asking anybody.
func CheckDSN(dsn string) error {
	if _, err := native.ParseDSN(dsn); err != nil {
		return fmt.Errorf("clickhouse DSN: %w", redact(err))
	}
	return nil
}

// Ping reports whether the database of the DSN answers.
func Ping(ctx context.Context, dsn string) error {
	s, err := Open(ctx, dsn)
	if err != nil {
		return err
	}
	return s.Close()
}

// redact keeps the DSN, which may hold a password, out of what url.Parse says of it.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Close closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	err := s.conn.Close()
	for _, c := range idle {
		err = errors.Join(err, c.Close())
	}
	return err
}

// native runs a query over ch-go, on a connection kept from an earlier one where there is one. A connection on
// which anything failed is not used again.
func (s *Store) native(ctx context.Context, q ch.Query) error {
	s.mu.Lock()
	var c *ch.Client
	if n := len(s.idle); n > 0 {
		c, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = ch.Dial(ctx, s.dial); err != nil {
			return fmt.Errorf("clickhouse: %w", err)
		}
	}
	if err := c.Do(ctx, q); err != nil {
		c.Close()
		return lost(err)
	}
	s.mu.Lock()
	if s.closed || len(s.idle) >= maxIdle {
		s.mu.Unlock()
		return c.Close()
	}
	s.idle = append(s.idle, c)
	s.mu.Unlock()
	return nil
}

// lost makes the guard's refusal recognisable.
func lost(err error) error {
	const code = 395 // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
	var a *native.Exception
	if errors.As(err, &a) && a.Code == code {
		return errors.Join(pipeline.ErrLost, err)
	}
	if b, ok := ch.AsException(err); ok && b.Code == code {
		return errors.Join(pipeline.ErrLost, err)
	}
	return err
}

// queryID is a new id for an insert of a partition's owner. Fence finds the inserts of earlier owners by it.
func (s *Store) queryID(owner pipeline.Checkpoint) string {
	return fmt.Sprintf("%s%d/%s-%d", queryPrefix(owner.Topic, owner.Partition), owner.Epoch, s.id, s.queries.Add(1))
}

// Load returns the newest checkpoint of a partition, ok false when there is none.
func (s *Store) Load(ctx context.Context, topic string, partition int32) (cp pipeline.Checkpoint, ok bool, err error) {
	cp = pipeline.Checkpoint{Topic: topic, Partition: partition}
	var at time.Time
	err = s.conn.QueryRow(ctx, `SELECT epoch, offset, written_at FROM checkpoints WHERE topic = $1 AND partition = $2
		ORDER BY epoch DESC, offset DESC LIMIT 1`, topic, partition).Scan(&cp.Epoch, &cp.Offset, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return cp, false, nil
	}
	cp.Time = at.UnixMicro()
	return cp, err == nil, wrap(err, "load the checkpoint of", cp)
}

// LoadStates yields for every key the newest state up to the checkpoint, ordered by key from the last to the first.
// Neither side keeps more than a block of them in memory. The bytes are valid inside yield only.
func (s *Store) LoadStates(ctx context.Context, cp pipeline.Checkpoint, yield func(key string, data []byte) error) error {
	var keys, states proto.ColStr
	var last string
	var first = true
	return wrap(s.native(ctx, ch.Query{
		// The order is the table's, backwards, so that the server reads it as it lies and sorts nothing.
		Body: `SELECT key, state FROM agent_state
			WHERE topic = {topic:String} AND partition = {partition:Int32} AND offset <= {offset:Int64}
			ORDER BY topic DESC, partition DESC, key DESC, offset DESC LIMIT 1 BY key`,
		Parameters: parameters("topic", cp.Topic, "partition", cp.Partition, "offset", cp.Offset),
		Settings:   []ch.Setting{{Key: "optimize_read_in_order", Value: "1"}, {Key: "max_block_size", Value: "8192"}},
		Result:     proto.Results{{Name: "key", Data: &keys}, {Name: "state", Data: &states}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range keys.Rows() {
				key := keys.Row(i)
				if !first && key == last {
					continue
				}
				first, last = false, key
				if len(states.RowBytes(i)) == 0 {
					continue // what it was of is forgotten
				}
				if err := yield(key, states.RowBytes(i)); err != nil {
					return err
				}
			}
			return nil
		},
	}), "load the states of", cp)
}

// Recent yields id and time of the last n stored events before the checkpoint, oldest first.
func (s *Store) Recent(ctx context.Context, cp pipeline.Checkpoint, n int, yield func(id string, time int64)) error {
	type seen struct {
		id   string
		time int64
	}
	var all []seen
	// Offsets nearly always count events, so that the last n are in the last 2n offsets, which an index finds. Where
	// they do not (duplicates, rejected or compacted records) everything is looked through.
	for _, from := range []int64{max(0, cp.Offset-2*int64(n)), 0} {
		all = all[:0]
		var ids proto.ColStr
		var times proto.ColInt64
		err := s.native(ctx, ch.Query{
			Body: `SELECT id, toUnixTimestamp64Micro(time) AS at FROM events
				WHERE topic = {topic:String} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {to:Int64}
				ORDER BY offset DESC, idx DESC LIMIT {n:UInt64}`,
			Parameters: parameters("topic", cp.Topic, "partition", cp.Partition, "from", from, "to", cp.Offset, "n", n),
			Result:     proto.Results{{Name: "id", Data: &ids}, {Name: "at", Data: &times}},
			OnResult: func(context.Context, proto.Block) error {
				for i := range ids.Rows() {
					all = append(all, seen{ids.Row(i), times[i]})
				}
				return nil
			},
		})
		if err != nil {
			return wrap(err, "recall the events of", cp)
		}
		if len(all) >= n || from == 0 {
			break
		}
	}
	for _, e := range slices.Backward(all) {
		yield(e.id, e.time)
	}
	return nil
}

// Fence ends the inserts of earlier owners. That no later one of theirs takes effect is seen to by the guard in
// each insert, once cp is the newest checkpoint; call it after SaveCheckpoint of the claim. It then removes the
// states that earlier owners saved beyond cp: they were never committed, and must not look so once this owner
// has come as far.
func (s *Store) Fence(ctx context.Context, cp pipeline.Checkpoint) error {
	if now, ok, err := s.Load(ctx, cp.Topic, cp.Partition); err != nil {
		return err
	} else if ok && now.Epoch > cp.Epoch {
		return wrap(pipeline.ErrLost, "fence", cp)
	}
	prefix := queryPrefix(cp.Topic, cp.Partition)
	// KILL takes no bound values on older servers; the ids to kill are read first and quoted.
	rows, err := s.conn.Query(ctx, `SELECT query_id FROM system.processes
		WHERE startsWith(query_id, $1) AND toUInt64OrZero(splitByChar('/', substring(query_id, length($1) + 1))[1]) < $2`, prefix, cp.Epoch)
	if err != nil {
		return wrap(err, "fence", cp)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return wrap(err, "fence", cp)
		}
		ids = append(ids, quote(id))
	}
	if err := rows.Err(); err != nil {
		return wrap(err, "fence", cp)
	}
	if len(ids) > 0 {
		if err := s.conn.Exec(ctx, "KILL QUERY WHERE query_id IN ("+strings.Join(ids, ", ")+") SYNC"); err != nil {
			return wrap(err, "fence", cp)
		}
	}
	var beyond uint64
	const where = " WHERE topic = $1 AND partition = $2 AND offset > $3"
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM agent_state"+where, cp.Topic, cp.Partition, cp.Offset).Scan(&beyond); err != nil {
		return wrap(err, "look for uncommitted states of", cp)
	}
	if beyond > 0 {
		ctx := native.Context(ctx, native.WithSettings(native.Settings{"lightweight_deletes_sync": 2}))
		if err := s.conn.Exec(ctx, "DELETE FROM agent_state"+where, cp.Topic, cp.Partition, cp.Offset); err != nil {
			return wrap(err, "remove uncommitted states of", cp)
		}
	}
	return nil
}

// prune drops states that a newer one under the checkpoint has replaced, and the empty ones that did so. The server does it in the background.
func (s *Store) prune(ctx context.Context, cp pipeline.Checkpoint) error {
	ctx = native.Context(ctx, native.WithSettings(native.Settings{"lightweight_deletes_sync": 0}))
	return wrap(s.conn.Exec(ctx, `DELETE FROM agent_state WHERE topic = $1 AND partition = $2 AND offset < $3 AND (key, offset) NOT IN
		(SELECT key, max(offset) FROM agent_state WHERE topic = $1 AND partition = $2 AND offset <= $3 GROUP BY key HAVING argMax(empty(state), offset) = 0)`,
		cp.Topic, cp.Partition, cp.Offset), "prune the states of", cp)
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// StoredOffsets returns the highest stored offset of each day that has rows at or after from.
func (s *Store) StoredOffsets(ctx context.Context, topic string, partition int32, from int64) (map[int32]int64, error) {
	cp := pipeline.Checkpoint{Topic: topic, Partition: partition, Offset: from}
	rows, err := s.conn.Query(ctx, `SELECT toInt32(toDate(time)) AS day, max(offset) FROM events
		WHERE topic = $1 AND partition = $2 AND offset >= $3 GROUP BY day`, topic, partition, from)
	if err != nil {
		return nil, wrap(err, "look for stored events of", cp)
	}
	defer rows.Close()
	out := map[int32]int64{}
	for rows.Next() {
		var day int32
		var offset int64
		if err := rows.Scan(&day, &offset); err != nil {
			return nil, wrap(err, "look for stored events of", cp)
		}
		out[day] = offset
	}
	return out, wrap(rows.Err(), "look for stored events of", cp)
}

// stateBlock is the states of one SaveStates.
type stateBlock struct {
	topic     lowColumn
	partition proto.ColInt32
	offset    proto.ColInt64
	epoch     proto.ColUInt64
	key, data textColumn
	columns   proto.Input
}

func newStateBlock() *stateBlock {
	b := &stateBlock{}
	b.columns = proto.Input{{Name: "topic", Data: &b.topic}, {Name: "partition", Data: &b.partition}, {Name: "offset", Data: &b.offset},
		{Name: "epoch", Data: &b.epoch}, {Name: "key", Data: &b.key}, {Name: "state", Data: &b.data}}
	return b
}

// SaveStates saves states valid at cp.Offset; it fails when a later owner has claimed the partition.
func (s *Store) SaveStates(ctx context.Context, cp pipeline.Checkpoint, states []pipeline.State) error {
	if len(states) == 0 {
		return nil
	}
	b := s.stateBlocks.Get().(*stateBlock)
	defer s.stateBlocks.Put(b)
	for i := range b.columns {
		b.columns[i].Data.(proto.Resettable).Reset()
	}
	for _, st := range states {
		b.topic.Append(cp.Topic)
		b.partition.Append(cp.Partition)
		b.offset.Append(cp.Offset)
		b.epoch.Append(cp.Epoch)
		b.key.Append(st.Key)
		b.data.AppendBytes(st.Data)
	}
	return wrap(s.insert(ctx, insertStates, cp, b.columns, ""), "save states of", cp)
}

// SaveCheckpoint saves cp; the error is pipeline.ErrLost when a later owner has claimed the partition.
func (s *Store) SaveCheckpoint(ctx context.Context, cp pipeline.Checkpoint) error {
	err := s.native(ctx, ch.Query{
		Body: `INSERT INTO checkpoints (topic, partition, offset, epoch)
			SELECT {guard_topic:String}, {guard_partition:Int32}, {offset:Int64}, {guard_epoch:UInt64} WHERE ` + guard,
		QueryID:    s.queryID(cp),
		Parameters: append(guardParameters(cp), parameters("offset", cp.Offset)...),
		Settings:   []ch.Setting{{Key: "async_insert", Value: "0", Important: true}},
	})
	if err != nil {
		return wrap(err, "save the checkpoint of", cp)
	}
	s.mu.Lock()
	at := queryPrefix(cp.Topic, cp.Partition)
	s.saves[at]++
	due := s.saves[at]%pruneEvery == 0
	s.mu.Unlock()
	if due {
		// The checkpoint is saved whether this works or not; the next turn tries again.
		if err := s.prune(ctx, cp); err != nil {
			s.log.Warn("clickhouse: replaced states stay until the next turn", "topic", cp.Topic, "partition", cp.Partition, "err", err)
		}
	}
	return nil
}

// parameters binds names to values, given in turns, for the server to parse.
func parameters(pairs ...any) []proto.Parameter {
	var out []proto.Parameter
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, proto.Parameter{Key: pairs[i].(string), Value: quote(quoteText(fmt.Sprint(pairs[i+1])))})
	}
	return out
}

// quoteText escapes a text as the server reads the value of a parameter, which is then quoted once more.
func quoteText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(s)
}

// WriteAlerts saves alerts; of one id the highest revision counts.
func (s *Store) WriteAlerts(ctx context.Context, alerts []*alert.Alert) error {
	err := s.batch(ctx, `INSERT INTO alerts (id, revision, time, first_seen, last_seen, detector, entity_kind, entity_id, agent_ids,
		cohort, suppressed_by, severity, confidence, p_value, score, title, reason,
		evidence.feature, evidence.observed, evidence.expected, evidence.lower, evidence.upper, evidence.p_value, evidence.window_seconds,
		event_ids, event_count, techniques.framework, techniques.version, techniques.id, techniques.name,
		query, detector_version, baseline_version)`, len(alerts), func(b driver.Batch, i int) error {
		a := alerts[i]
		return b.Append(a.ID, a.Revision, a.Time, a.FirstSeen, a.LastSeen, a.Detector, a.EntityKind, a.EntityID, a.AgentIDs,
			a.Cohort, a.SuppressedBy, string(a.Severity), a.Confidence, a.PValue, a.Score, a.Title, a.Reason,
			each(a.Evidence, func(e alert.Evidence) string { return e.Feature }),
			each(a.Evidence, func(e alert.Evidence) float64 { return e.Observed }),
			each(a.Evidence, func(e alert.Evidence) float64 { return e.Expected }),
			each(a.Evidence, func(e alert.Evidence) float64 { return e.Lower }),
			each(a.Evidence, func(e alert.Evidence) float64 { return e.Upper }),
			each(a.Evidence, func(e alert.Evidence) float64 { return e.PValue }),
			each(a.Evidence, func(e alert.Evidence) int64 { return e.WindowSeconds }),
			a.EventIDs, a.EventCount,
			each(a.Techniques, func(t alert.Technique) string { return t.Framework }),
			each(a.Techniques, func(t alert.Technique) string { return t.Version }),
			each(a.Techniques, func(t alert.Technique) string { return t.ID }),
			each(a.Techniques, func(t alert.Technique) string { return t.Name }),
			a.Query, a.DetectorVersion, a.BaselineVersion)
	})
	if err != nil {
		return fmt.Errorf("write %d alerts: %w", len(alerts), err)
	}
	return nil
}

func each[T, V any](in []T, f func(T) V) []V {
	out := make([]V, len(in))
	for i, x := range in {
		out[i] = f(x)
	}
	return out
}

// WriteDeadLetters saves rejected messages, told apart by position.
func (s *Store) WriteDeadLetters(ctx context.Context, letters []pipeline.DeadLetter) error {
	err := s.batch(ctx, "INSERT INTO dead_letters (topic, partition, offset, idx, code, field, reason, key, headers.key, headers.value, headers_size, raw, size, time)", len(letters),
		func(b driver.Batch, i int) error {
			l := letters[i]
			return b.Append(l.Position.Topic, l.Position.Partition, l.Position.Offset, l.Position.Index, l.Code, l.Field, l.Reason,
				string(l.Key), each(l.Headers, func(h kafka.Header) string { return h.Key }), each(l.Headers, func(h kafka.Header) string { return string(h.Value) }),
				int64(l.HeadersSize), string(l.Raw), int64(l.Size), time.UnixMicro(l.Time))
		})
	if err != nil {
		return fmt.Errorf("write %d dead letters: %w", len(letters), err)
	}
	return nil
}

// WriteBaselines saves summaries; of one entity, feature and window the newest counts.
func (s *Store) WriteBaselines(ctx context.Context, all []baseline.Summary) error {
	err := s.batch(ctx, `INSERT INTO baselines (entity_kind, entity_id, feature, window_seconds, expected, lower, upper, shape, rate, windows, time)`,
		len(all), func(b driver.Batch, i int) error {
			x := all[i]
			return b.Append(x.EntityKind, x.EntityID, x.Feature, x.WindowSeconds, x.Expected, x.Lower, x.Upper, x.Shape, x.Rate,
				x.Windows, time.UnixMicro(x.Time))
		})
	if err != nil {
		return fmt.Errorf("write %d baselines: %w", len(all), err)
	}
	return nil
}

const batchRows = 20_000

func (s *Store) batch(ctx context.Context, insert string, n int, add func(b driver.Batch, i int) error) error {
	ctx, cancel := context.WithTimeout(native.Context(ctx, native.WithSettings(native.Settings{"async_insert": 0})), s.insertTimeout)
	defer cancel()
	for from := 0; from < n; from += batchRows {
		b, err := s.conn.PrepareBatch(ctx, insert)
		if err != nil {
			return err
		}
		for i := range min(batchRows, n-from) {
			if err := add(b, from+i); err != nil {
				return errors.Join(err, b.Abort())
			}
		}
		if err := b.Send(); err != nil {
			return err
		}
	}
	return nil
}

func wrap(err error, what string, cp pipeline.Checkpoint) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s/%d at %d: %w", what, cp.Topic, cp.Partition, cp.Offset, err)
}
