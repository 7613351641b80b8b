-- +goose Up
-- The questions: what did this agent (first), this credential, this source, this session do in a span of time, and
-- who touched this resource. The order key serves the first, bloom indexes the others, a text index the words of posts.
-- A block of rows never spans two days, so that an insert is atomic. Rows are kept from when they came, so that
-- old history can be brought in.
CREATE TABLE IF NOT EXISTS events (
    id String CODEC(ZSTD(1)),
    time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    kind LowCardinality(String) CODEC(ZSTD(1)),
    access LowCardinality(String) CODEC(ZSTD(1)),
    agent_id String CODEC(ZSTD(1)),
    action LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    resource String CODEC(ZSTD(1)),
    destination String CODEC(ZSTD(1)),
    credential_id String CODEC(ZSTD(1)),
    owner_id String CODEC(ZSTD(1)),
    on_behalf_of Array(String) CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    agent_version LowCardinality(String) CODEC(ZSTD(1)),
    cohort LowCardinality(String) CODEC(ZSTD(1)),
    source_ip String CODEC(ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1)),
    user_agent LowCardinality(String) CODEC(ZSTD(1)),
    status Int32 CODEC(ZSTD(1)),
    request_bytes Int64 CODEC(ZSTD(1)),
    response_bytes Int64 CODEC(ZSTD(1)),
    duration_ms Float64 CODEC(ZSTD(1)),
    community LowCardinality(String) CODEC(ZSTD(1)),
    reply_to String CODEC(ZSTD(1)),
    mentions Array(String) CODEC(ZSTD(1)),
    content String CODEC(ZSTD(3)),
    labels Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    secrets Nested(field LowCardinality(String), rule LowCardinality(String), fingerprint String) CODEC(ZSTD(1)),
    late UInt8 CODEC(ZSTD(1)),
    topic LowCardinality(String) CODEC(ZSTD(1)),
    partition Int32 CODEC(ZSTD(1)),
    offset Int64 CODEC(Delta, ZSTD(1)),
    idx UInt32 CODEC(ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1)),
    INDEX by_credential credential_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_source source_ip TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_destination destination TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_resource resource TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_reply reply_to TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_secret secrets.fingerprint TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(time)
ORDER BY (agent_id, time)
TTL toDateTime(ingested_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- +goose Down
DROP TABLE IF EXISTS events;
