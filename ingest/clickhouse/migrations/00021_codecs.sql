-- +goose Up
-- Within an agent, times differ by multiples of what its producer's clock resolves, mostly a millisecond; offsets rise
-- by what came between. docs/operations/storage.md has what each codec was measured to cost.
ALTER TABLE events
    MODIFY COLUMN time CODEC(GCD, Delta, ZSTD(1)),
    MODIFY COLUMN request_bytes CODEC(T64, ZSTD(1)),
    MODIFY COLUMN response_bytes CODEC(T64, ZSTD(1)),
    MODIFY COLUMN resource CODEC(ZSTD(3));

-- +goose Down
ALTER TABLE events
    MODIFY COLUMN time CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN request_bytes CODEC(ZSTD(1)),
    MODIFY COLUMN response_bytes CODEC(ZSTD(1)),
    MODIFY COLUMN resource CODEC(ZSTD(1));
