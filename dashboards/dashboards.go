// Package dashboards holds what a Grafana is provisioned with to show Astray: the datasource, the app's settings, the
// dashboards and the alert rules. The files are generated in astray-app (npm run generate).
package dashboards

import (
	"embed"
	"io/fs"
)

//go:embed provisioning
var files embed.FS

// Provisioning is the tree that Grafana's paths.provisioning points at: datasources, plugins, dashboards, alerting.
// Its files take the database from the environment: ASTRAY_CLICKHOUSE_ADDRESS, _DATABASE, _USER and _PASSWORD.
func Provisioning() fs.FS {
	sub, err := fs.Sub(files, "provisioning")
	if err != nil { // only for a name that is no path
		panic(err)
	}
	return sub
}
