-- +goose Up
-- What a message is may stand in its headers (CloudEvents in binary mode): without them it could not be replayed.
-- headers_size is that of all of them, as they came.
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS `headers.key` Array(String) CODEC(ZSTD(1)) AFTER key,
    ADD COLUMN IF NOT EXISTS `headers.value` Array(String) CODEC(ZSTD(1)) AFTER `headers.key`,
    ADD COLUMN IF NOT EXISTS headers_size Int64 AFTER `headers.value`;

-- +goose Down
ALTER TABLE dead_letters DROP COLUMN IF EXISTS headers_size, DROP COLUMN IF EXISTS `headers.value`, DROP COLUMN IF EXISTS `headers.key`;
