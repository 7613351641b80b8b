package clickhouse

import (
	"testing"

	"github.com/ClickHouse/ch-go"
	native "github.com/ClickHouse/clickhouse-go/v2"
)

func TestBlocksArePackedForANetwork(t *testing.T) {
	for dsn, want := range map[string]ch.Compression{
		"clickhouse://127.0.0.1:9000/astray":                ch.CompressionDisabled,
		"clickhouse://localhost:9000/astray":                ch.CompressionDisabled,
		"clickhouse://[::1]:9000/astray":                    ch.CompressionDisabled,
		"clickhouse://db.example:9000/astray":               ch.CompressionLZ4,
		"clickhouse://10.0.0.7:9000/astray":                 ch.CompressionLZ4,
		"clickhouse://127.0.0.1:9000/astray?compress=lz4":   ch.CompressionLZ4,
		"clickhouse://db.example:9000/astray?compress=zstd": ch.CompressionZSTD,
		"clickhouse://db.example:9000/astray?compress=none": ch.CompressionDisabled,
	} {
		opt, err := native.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if got := compression(opt); got != want {
			t.Errorf("%s: %v, want %v", dsn, got, want)
		}
	}
}
