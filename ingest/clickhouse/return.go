package clickhouse

import (
	"context"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/astray-dev/astray/ingest/pipeline"
)

var _ pipeline.Returner = (*Store)(nil)

// States yields the newest state of each of the keys that has one, whether a checkpoint makes it count or not: they are
// asked for by the owner that wrote it. The bytes are valid inside yield only.
func (s *Store) States(ctx context.Context, cp pipeline.Checkpoint, keys []string, yield func(key string, state []byte) error) error {
	if len(keys) == 0 {
		return nil
	}
	var wanted proto.ColStr
	for _, k := range keys {
		wanted.Append(k)
	}
	var found, states proto.ColStr
	return wrap(s.native(ctx, ch.Query{
		Body: `SELECT key, state FROM agent_state
			WHERE topic = {topic:String} AND partition = {partition:Int32} AND key IN (SELECT key FROM wanted)
			ORDER BY key, offset DESC LIMIT 1 BY key`,
		Parameters:    parameters("topic", cp.Topic, "partition", cp.Partition),
		ExternalData:  []proto.InputColumn{{Name: "key", Data: &wanted}},
		ExternalTable: "wanted",
		Result:        proto.Results{{Name: "key", Data: &found}, {Name: "state", Data: &states}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range found.Rows() {
				if len(states.RowBytes(i)) == 0 {
					continue // what it was of is forgotten
				}
				if err := yield(found.Row(i), states.RowBytes(i)); err != nil {
					return err
				}
			}
			return nil
		},
	}), "bring back states of", cp)
}
