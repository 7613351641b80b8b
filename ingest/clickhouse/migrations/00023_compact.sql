-- +goose Up
-- A block of 50,000 events is 11 to 16 MB: as a compact part it is 13 files instead of 179. What is merged of several is wide as before,
-- which packs better.
ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 25165824;

-- +goose Down
ALTER TABLE events RESET SETTING min_bytes_for_wide_part;
