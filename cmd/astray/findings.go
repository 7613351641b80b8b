package main

import (
	"github.com/spf13/cobra"

	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/catalog"
	"github.com/astray-dev/astray/detect/ocsf"
	"github.com/astray-dev/astray/ingest/clickhouse/ledger"
)

const alertsFormat = "alerts-format"

// alertsFormatFlag adds the flag that chooses the shape of alerts.
func alertsFormatFlag(c *cobra.Command, format *string) {
	c.Flags().StringVar(format, alertsFormat, "native", "`SHAPE` of alerts, a JSON object a line: native, or ocsf for OCSF Detection Findings")
}

// asFinding is an alert as an OCSF Detection Finding.
func asFinding(j ledger.Judged) any {
	return ocsf.New(&j.Alert, ocsf.Context{Product: version, Next: nextOf(j.Detector), State: string(j.State), Verdict: string(j.Verdict), Suppressed: j.SuppressedBy != ""})
}

// alertShape is how a replay writes an alert.
func alertShape(format string) func(*alert.Alert) any {
	if format == "ocsf" {
		return func(a *alert.Alert) any { return ocsf.New(a, ocsf.Context{Product: version, Next: nextOf(a.Detector)}) }
	}
	return func(a *alert.Alert) any { return a }
}

// nextOf is what to check next after an alert of a detector.
func nextOf(detector string) string {
	for _, d := range catalog.All() {
		if info := d.Info(); info.Name == detector {
			return info.Next
		}
	}
	return ""
}
