package pipeline

import (
	"testing"
	"time"
)

// asked is a source whose checkpoints are waited for.
type asked struct{ *tape }

func (asked) Wanted() int64 { return 0 }

// Who catches up, and who is told when a checkpoint is needed, makes a third of them by the clock.
func TestCheckpointsAreRarerWhileCatchingUp(t *testing.T) {
	for _, c := range []struct {
		src    Source
		behind bool
		want   time.Duration
	}{{nil, false, 10 * time.Second}, {nil, true, 30 * time.Second}, {asked{newTape(1)}, false, 30 * time.Second}, {asked{newTape(1)}, true, 30 * time.Second}} {
		p := &partition{cfg: Config{CheckpointEvery: 10 * time.Second}, src: c.src, behind: c.behind}
		if got := p.due(); got != c.want {
			t.Errorf("source %T, behind %v: a checkpoint after %v, not %v", c.src, c.behind, got, c.want)
		}
	}
}
