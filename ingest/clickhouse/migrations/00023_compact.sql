-- +goose Up
-- A block is 15 to 25 MB: as a compact part it is four files instead of over a hundred, written through one buffer instead of
-- one of a megabyte for each column. The first merges make wide parts of them.
ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 67108864;

-- +goose Down
ALTER TABLE events RESET SETTING min_bytes_for_wide_part;
