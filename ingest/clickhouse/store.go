package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	native "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/baseline"
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
}

var _ pipeline.Store = (*Store)(nil)

// Open connects to the database of the DSN (clickhouse://user:password@host:port/database).
func Open(ctx context.Context, dsn string) (*Store, error) {
	opt, err := native.ParseDSN(dsn)
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
	return &Store{conn: conn, insertTimeout: DefaultInsertTimeout, dial: ch.Options{
		Address: opt.Addr[0], Database: opt.Auth.Database, User: opt.Auth.Username, Password: opt.Auth.Password,
		Compression: ch.CompressionLZ4, TLS: opt.TLS, ClientName: "astray",
	}}, nil
}

// redact keeps the DSN, which may hold a password, out of what url.Parse says of it.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Close closes the connections that are not a Block's.
func (s *Store) Close() error { return s.conn.Close() }

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

// LoadStates yields for every key the newest state up to the checkpoint.
func (s *Store) LoadStates(ctx context.Context, cp pipeline.Checkpoint, yield func(key string, data []byte) error) error {
	rows, err := s.conn.Query(ctx, `SELECT key, argMax(state, offset) FROM agent_state
		WHERE topic = $1 AND partition = $2 AND offset <= $3 GROUP BY key ORDER BY key`, cp.Topic, cp.Partition, cp.Offset)
	if err != nil {
		return wrap(err, "load the states of", cp)
	}
	defer rows.Close()
	var key, state string
	for rows.Next() {
		if err := rows.Scan(&key, &state); err != nil {
			return wrap(err, "load the states of", cp)
		}
		if err := yield(key, []byte(state)); err != nil {
			return err
		}
	}
	return wrap(rows.Err(), "load the states of", cp)
}

// Fence ends the inserts of earlier owners. That no later one of theirs takes effect is seen to by the guard in
// each insert, once cp is the newest checkpoint; call it after SaveCheckpoint of the claim.
func (s *Store) Fence(ctx context.Context, cp pipeline.Checkpoint) error {
	prefix := queryPrefix(cp.Topic, cp.Partition)
	const mine = ` WHERE startsWith(query_id, $1) AND toUInt64OrZero(splitByChar('/', substring(query_id, length($1) + 1))[1]) < $2`
	// KILL takes no bound values on older servers; the ids to kill are read first and quoted.
	rows, err := s.conn.Query(ctx, "SELECT query_id FROM system.processes"+mine, prefix, cp.Epoch)
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
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return wrap(err, "fence", cp)
	}
	return wrap(s.conn.Exec(ctx, "KILL QUERY WHERE query_id IN ("+strings.Join(ids, ", ")+") SYNC"), "fence", cp)
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

// SaveStates saves states valid at cp.Offset.
func (s *Store) SaveStates(ctx context.Context, cp pipeline.Checkpoint, states []pipeline.State) error {
	return wrap(s.batch(ctx, "INSERT INTO agent_state (topic, partition, key, offset, epoch, state)", len(states),
		func(b driver.Batch, i int) error {
			return b.Append(cp.Topic, cp.Partition, states[i].Key, cp.Offset, cp.Epoch, string(states[i].Data))
		}), "save states of", cp)
}

// SaveCheckpoint saves cp; it fails when a later owner has claimed the partition.
func (s *Store) SaveCheckpoint(ctx context.Context, cp pipeline.Checkpoint) error {
	ctx = native.Context(ctx, native.WithSettings(native.Settings{"async_insert": 0}), native.WithParameters(native.Parameters{
		"guard_topic": cp.Topic, "guard_partition": fmt.Sprint(cp.Partition), "guard_epoch": fmt.Sprint(cp.Epoch), "offset": fmt.Sprint(cp.Offset)}))
	return wrap(s.conn.Exec(ctx, `INSERT INTO checkpoints (topic, partition, offset, epoch)
		SELECT {guard_topic:String}, {guard_partition:Int32}, {offset:Int64}, {guard_epoch:UInt64} WHERE `+guard), "save the checkpoint of", cp)
}

// WriteAlerts saves alerts; of one id the highest revision counts.
func (s *Store) WriteAlerts(ctx context.Context, alerts []*alert.Alert) error {
	err := s.batch(ctx, `INSERT INTO alerts (id, revision, time, first_seen, last_seen, detector, entity_kind, entity_id, agent_ids,
		cohort, severity, confidence, p_value, score, title, reason,
		evidence.feature, evidence.observed, evidence.expected, evidence.lower, evidence.upper, evidence.p_value, evidence.window_seconds,
		event_ids, event_count, techniques.framework, techniques.version, techniques.id, techniques.name,
		query, detector_version, baseline_version)`, len(alerts), func(b driver.Batch, i int) error {
		a := alerts[i]
		return b.Append(a.ID, a.Revision, a.Time, a.FirstSeen, a.LastSeen, a.Detector, a.EntityKind, a.EntityID, a.AgentIDs,
			a.Cohort, string(a.Severity), a.Confidence, a.PValue, a.Score, a.Title, a.Reason,
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
	err := s.batch(ctx, "INSERT INTO dead_letters (topic, partition, offset, idx, code, field, reason, raw, size, time)", len(letters),
		func(b driver.Batch, i int) error {
			l := letters[i]
			return b.Append(l.Position.Topic, l.Position.Partition, l.Position.Offset, l.Position.Index, l.Code, l.Field, l.Reason,
				string(l.Raw), int64(l.Size), time.UnixMicro(l.Time))
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
		for i := range slices.Min([]int{batchRows, n - from}) {
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
