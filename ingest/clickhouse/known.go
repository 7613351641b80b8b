package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/astray-dev/astray/ingest/pipeline"
)

var _ pipeline.Registrar = (*Store)(nil)

// Known yields the index of every doubt whose id was stored for the same day at a lower position of the partition.
func (s *Store) Known(ctx context.Context, cp pipeline.Checkpoint, doubts []pipeline.Doubt, yield func(i int)) error {
	if len(doubts) == 0 {
		return nil
	}
	var wanted proto.ColStr
	first, last := doubts[0].Day, doubts[0].Day
	for _, d := range doubts {
		wanted.Append(d.ID)
		first, last = min(first, d.Day), max(last, d.Day)
	}
	type place struct {
		offset int64
		index  uint32
	}
	stored := map[string]place{}
	key := func(id string, day int32) string { return fmt.Sprintf("%d/%s", day, id) }
	var ids proto.ColStr
	var days proto.ColInt32
	var offsets proto.ColInt64
	var indexes proto.ColUInt32
	err := s.native(ctx, ch.Query{
		Body: `SELECT id, toInt32(toDate(time)) AS day, min((offset, idx)).1 AS at, min((offset, idx)).2 AS i FROM events
			WHERE topic = {topic:String} AND partition = {partition:Int32} AND id IN (SELECT id FROM wanted)
			AND toDate(time) BETWEEN toDate({first:Int32}) AND toDate({last:Int32}) GROUP BY id, day`,
		Parameters:    parameters("topic", cp.Topic, "partition", cp.Partition, "first", first, "last", last),
		ExternalData:  []proto.InputColumn{{Name: "id", Data: &wanted}},
		ExternalTable: "wanted",
		Result:        proto.Results{{Name: "id", Data: &ids}, {Name: "day", Data: &days}, {Name: "at", Data: &offsets}, {Name: "i", Data: &indexes}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range ids.Rows() {
				stored[key(ids.Row(i), days[i])] = place{offsets[i], indexes[i]}
			}
			return nil
		},
	})
	if err != nil {
		return wrap(err, "look for ids of", cp)
	}
	for i, d := range doubts {
		at, ok := stored[key(d.ID, d.Day)]
		if ok && (at.offset < d.Position.Offset || at.offset == d.Position.Offset && at.index < d.Position.Index) {
			yield(i)
		}
	}
	return nil
}

// Hashes yields xxHash64 and day of the ids of the events that were stored before the checkpoint, of the newest days.
func (s *Store) Hashes(ctx context.Context, cp pipeline.Checkpoint, days int, yield func(hash uint64, day int32)) error {
	var hashes proto.ColUInt64
	var dates proto.ColInt32
	const which = "topic = {topic:String} AND partition = {partition:Int32} AND offset < {offset:Int64}"
	return wrap(s.native(ctx, ch.Query{
		Body: `SELECT xxHash64(id) AS hash, toInt32(toDate(time)) AS day FROM events WHERE ` + which + `
			AND toDate(time) > (SELECT max(toDate(time)) FROM events WHERE ` + which + `) - {days:Int32}`,
		Parameters: parameters("topic", cp.Topic, "partition", cp.Partition, "offset", cp.Offset, "days", days),
		Result:     proto.Results{{Name: "hash", Data: &hashes}, {Name: "day", Data: &dates}},
		OnResult: func(context.Context, proto.Block) error {
			for i, h := range hashes {
				yield(h, dates[i])
			}
			return nil
		},
	}), "read the ids of", cp)
}
