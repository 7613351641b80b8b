// Package plugin is the backend of the Grafana app: queries, resources, health and the stream of alerts, over package
// reader. It serves the app and its nested datasource alike; each is configured for itself.
//
// Who may do what is decided here, for every call, from the user that Grafana names: a Viewer reads, an Editor
// triages, an Admin tests the connection. Grafana keeps the settings and lets only its Admins change them.
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/app"
	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"

	"github.com/astray-dev/astray/ingest/clickhouse/reader"
)

// IDs of the plugins that the executable serves.
const (
	AppID        = "astray-app"
	DatasourceID = "astray-datasource"
)

// Handler serves what Grafana asks. It is safe for use by several goroutines.
type Handler struct {
	apps, datasources instancemgmt.InstanceManager
	resources         backend.CallResourceHandler
	// every is how often a stream looks for changes, after the time it took to send the last ones.
	every time.Duration
	// wait returns when the time has passed or the context has ended.
	wait func(context.Context, time.Duration) error
}

var (
	_ backend.QueryDataHandler    = (*Handler)(nil)
	_ backend.CheckHealthHandler  = (*Handler)(nil)
	_ backend.CallResourceHandler = (*Handler)(nil)
	_ backend.StreamHandler       = (*Handler)(nil)
)

// New makes a handler.
func New() *Handler {
	h := &Handler{every: 2 * time.Second, wait: pause}
	h.apps = app.NewInstanceManager(func(_ context.Context, s backend.AppInstanceSettings) (instancemgmt.Instance, error) {
		return newInstance(s.JSONData, s.DecryptedSecureJSONData), nil
	})
	h.datasources = datasource.NewInstanceManager(func(_ context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		return newInstance(s.JSONData, s.DecryptedSecureJSONData), nil
	})
	mux := http.NewServeMux()
	h.routes(mux)
	h.resources = httpadapter.New(mux)
	return h
}

// Serve serves Grafana until it ends the process.
func Serve() error {
	h := New()
	backend.SetupPluginEnvironment(AppID)
	return backend.Manage(AppID, backend.ServeOpts{QueryDataHandler: h, CheckHealthHandler: h, CallResourceHandler: h, StreamHandler: h})
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settings as the app and the datasource keep them.
type settings struct {
	Address        string  `json:"address"`
	Protocol       string  `json:"protocol"`
	Database       string  `json:"database"`
	Username       string  `json:"username"`
	TLS            bool    `json:"tls"`
	TLSSkipVerify  bool    `json:"tlsSkipVerify"`
	TLSCA          string  `json:"tlsCA"`
	TimeoutSeconds float64 `json:"timeoutSeconds"`
	AlertBudget    float64 `json:"alertBudget"` // false alerts per 1,000 agent-days, as the engine was told
}

// DefaultAddress is where ClickHouse is looked for when nothing is configured.
const DefaultAddress = "127.0.0.1:9000"

// instance is one configured connection. One that cannot be made says why at each use.
type instance struct {
	*reader.Reader
	budget float64
	err    error
}

func newInstance(data json.RawMessage, secure map[string]string) *instance {
	s := settings{AlertBudget: 1}
	if len(data) > 0 && string(data) != "null" {
		if err := json.Unmarshal(data, &s); err != nil {
			return &instance{err: fmt.Errorf("the settings cannot be read: %w", err)}
		}
	}
	if s.Address == "" {
		s.Address = DefaultAddress
	}
	if s.Username == "" {
		s.Username = "default"
	}
	r, err := reader.New(reader.Config{Address: s.Address, Protocol: s.Protocol, Database: s.Database, Username: s.Username, Password: secure["password"],
		TLS: s.TLS, TLSSkipVerify: s.TLSSkipVerify, TLSCA: s.TLSCA, Timeout: time.Duration(s.TimeoutSeconds * float64(time.Second))})
	if err != nil {
		err = &reader.Problem{Kind: reader.Invalid, Text: "settings: " + err.Error(), Err: err}
	}
	return &instance{r, s.AlertBudget, err}
}

// Dispose closes the connections; Grafana's SDK calls it when the settings have changed.
func (i *instance) Dispose() {
	if i.Reader != nil {
		if err := i.Close(); err != nil {
			backend.Logger.Warn("closing the connections", "err", err)
		}
	}
}

// instance returns the connection that a call is meant for.
func (h *Handler) instance(ctx context.Context, pc backend.PluginContext) (*instance, error) {
	m := h.apps
	switch {
	case pc.DataSourceInstanceSettings != nil:
		m = h.datasources
	case pc.AppInstanceSettings == nil:
		pc.AppInstanceSettings = &backend.AppInstanceSettings{}
	}
	x, err := m.Get(ctx, pc)
	if err != nil {
		return nil, err
	}
	i, ok := x.(*instance)
	if !ok {
		return nil, errors.New("the connection is of another plugin")
	}
	return i, i.err
}

// CheckHealth says whether everything that is needed can be reached and read, and if not what is wrong.
func (h *Handler) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	i, err := h.instance(ctx, req.PluginContext)
	if err != nil {
		return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: err.Error()}, nil
	}
	findings, ok, message := i.Health(ctx)
	details, err := json.Marshal(map[string]any{"checks": findings})
	if err != nil {
		return nil, err
	}
	res := &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: message, JSONDetails: details}
	if !ok {
		res.Status = backend.HealthStatusError
	}
	return res, nil
}

// role of a user, the higher may do more.
type role int

const (
	nobody role = iota
	viewer
	editor
	admin
)

func (r role) String() string { return [...]string{"nobody", "Viewer", "Editor", "Admin"}[r] }

func roleOf(u *backend.User) role {
	if u == nil {
		return nobody
	}
	switch u.Role {
	case "Admin", "Grafana Admin":
		return admin
	case "Editor":
		return editor
	case "Viewer":
		return viewer
	}
	return nobody
}

// who is the name that an action is recorded under.
func who(u *backend.User) string {
	if u == nil {
		return ""
	}
	if u.Login != "" {
		return u.Login
	}
	return u.Email
}
