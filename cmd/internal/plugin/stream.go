package plugin

import (
	"context"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/astray-dev/astray/ingest/clickhouse/reader"
)

// alertsPath is the one channel: alerts that are new, go on, or were acted upon.
const alertsPath = "alerts"

// SubscribeStream lets Viewers listen to the channel of alerts.
func (h *Handler) SubscribeStream(_ context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	res := &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}
	switch {
	case req.Path != alertsPath:
		res.Status = backend.SubscribeStreamStatusNotFound
	case roleOf(req.PluginContext.User) < viewer:
		res.Status = backend.SubscribeStreamStatusPermissionDenied
	}
	return res, nil
}

// PublishStream refuses: nobody writes to the channel but this backend.
func (h *Handler) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

const (
	streamRows = 500    // alerts in one frame
	streamSeen = 10_000 // alerts that a stream remembers having sent
)

// RunStream sends the alerts that changed, a frame at a time. It looks for the next changes only when the last frame
// was taken, so that what arrives while Grafana is slow comes together in a later frame instead of piling up here.
func (h *Handler) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	i, err := h.instance(ctx, req.PluginContext)
	if err != nil {
		return err
	}
	cursor, err := i.Cursor(ctx)
	if err != nil {
		return err
	}
	// version tells whether a row is one that was sent: Changes may give one twice.
	type version struct{ revision, actions uint64 }
	sent := map[string]version{}
	for {
		list, next, err := i.Changes(ctx, cursor, streamRows)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			backend.Logger.Warn("the stream of alerts", "err", err)
			if reader.KindOf(err) == reader.Invalid {
				return err
			}
		} else {
			more := len(list) == streamRows && next != cursor
			cursor = next
			var fresh []reader.Row
			for _, a := range list {
				v := version{a.Revision, a.Actions}
				if sent[a.ID] != v {
					if len(sent) >= streamSeen {
						clear(sent)
					}
					sent[a.ID] = v
					fresh = append(fresh, a)
				}
			}
			if len(fresh) > 0 {
				if err := sender.SendFrame(alertsFrame(fresh), data.IncludeAll); err != nil {
					return err
				}
			}
			if more {
				continue
			}
		}
		if err := h.wait(ctx, h.every); err != nil {
			return err
		}
	}
}
