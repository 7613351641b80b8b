// Command gpx_astray is the backend of the Grafana app astray-app and of its datasource. Grafana starts it.
package main

import (
	"fmt"
	"os"

	"github.com/astray-dev/astray/cmd/internal/plugin"
)

func main() {
	if err := plugin.Serve(); err != nil {
		fmt.Fprintln(os.Stderr, "gpx_astray:", err)
		os.Exit(1)
	}
}
