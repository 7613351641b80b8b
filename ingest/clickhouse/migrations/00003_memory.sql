-- +goose Up
CREATE TABLE IF NOT EXISTS baselines (
    entity_kind LowCardinality(String), entity_id String, feature LowCardinality(String), window_seconds Int64,
    expected Float64, lower Float64, upper Float64, shape Float64, rate Float64, windows Float64, time DateTime64(6, 'UTC'),
    written_at DateTime DEFAULT now()
) ENGINE = ReplacingMergeTree(time) ORDER BY (entity_kind, entity_id, feature, window_seconds)
TTL written_at + INTERVAL 365 DAY;

-- Not a ReplacingMergeTree: a state that was written but never committed must not merge away the committed one
-- before it. Of a key's rows the newest with an offset up to the checkpoint's counts. Rows that a newer committed one
-- has replaced are deleted now and then, and uncommitted ones when a partition gets a new owner.
CREATE TABLE IF NOT EXISTS agent_state (
    topic LowCardinality(String), partition Int32, key String CODEC(ZSTD(1)), offset Int64 CODEC(Delta, ZSTD(1)),
    epoch UInt64 CODEC(ZSTD(1)), state String CODEC(ZSTD(1)), written_at DateTime DEFAULT now()
) ENGINE = MergeTree PARTITION BY (topic, partition) ORDER BY (topic, partition, key, offset);

-- The row written last makes everything up to its offset true. epoch tells the owners of a partition apart, the later
-- one's is higher; within an epoch offsets only grow, so merging keeps the newest row.
CREATE TABLE IF NOT EXISTS checkpoints (
    topic LowCardinality(String), partition Int32, offset Int64, epoch UInt64, written_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(offset) ORDER BY (topic, partition, epoch);

CREATE TABLE IF NOT EXISTS dead_letters (
    topic LowCardinality(String), partition Int32, offset Int64, idx UInt32,
    code LowCardinality(String), field LowCardinality(String), reason String, key String CODEC(ZSTD(1)),
    raw String CODEC(ZSTD(3)), size Int64, time DateTime64(3, 'UTC'), written_at DateTime DEFAULT now()
) ENGINE = ReplacingMergeTree ORDER BY (topic, partition, offset, idx)
TTL written_at + INTERVAL 30 DAY;

-- +goose Down
DROP TABLE IF EXISTS dead_letters;
DROP TABLE IF EXISTS checkpoints;
DROP TABLE IF EXISTS agent_state;
DROP TABLE IF EXISTS baselines;
