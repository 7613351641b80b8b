-- +goose Up
-- How old the newest row is, is asked every few seconds: the parts that hold none of the last minutes are skipped.
ALTER TABLE events ADD INDEX IF NOT EXISTS by_arrival ingested_at TYPE minmax GRANULARITY 1;

-- +goose Down
ALTER TABLE events DROP INDEX IF EXISTS by_arrival;
