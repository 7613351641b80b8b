package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// retained are the tables whose rows end, and the column each counts from.
var retained = map[string]string{
	"events": "toDateTime(ingested_at)", "alerts": "toDateTime(written_at)", "dead_letters": "written_at", "baselines": "written_at",
}

var interval = regexp.MustCompile(`TTL .*toIntervalDay\((\d+)\)`)

// SetRetention makes the named tables (events, alerts, dead_letters, baselines) keep their rows for so many whole
// days. Tables that do so already are not touched. Rows that are older go with the server's next merges. It
// returns the tables it changed.
func SetRetention(ctx context.Context, dsn string, keep map[string]time.Duration) (changed []string, err error) {
	opt, err := driver.ParseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("clickhouse DSN: %w", redact(err))
	}
	conn, err := driver.Open(opt)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, table := range slices.Sorted(maps.Keys(keep)) {
		from, ok := retained[table]
		days := int(keep[table] / (24 * time.Hour))
		if !ok || days < 1 {
			return changed, fmt.Errorf("retention of %s: there is no such table, or less than a day", table)
		}
		var create string
		if err := conn.QueryRow(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = $1", table).Scan(&create); err != nil {
			return changed, fmt.Errorf("retention of %s: %w", table, err)
		}
		if m := interval.FindStringSubmatch(create); m != nil && m[1] == strconv.Itoa(days) {
			continue
		}
		// Both texts are this package's own.
		alter := fmt.Sprintf("ALTER TABLE %s MODIFY TTL %s + INTERVAL %d DAY SETTINGS materialize_ttl_after_modify = 0", table, from, days)
		if err := conn.Exec(ctx, alter); err != nil {
			return changed, fmt.Errorf("retention of %s: %w", table, err)
		}
		changed = append(changed, table)
	}
	return changed, nil
}
