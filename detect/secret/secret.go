// Package secret detects credentials in what agents write. Redaction (package event) has found and replaced them; this
// detector says so. A secret that others can read is worth an alert whatever the past.
package secret

import (
	"fmt"
	"math"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/alert"
	"github.com/astray-dev/astray/detect/feature"
	"github.com/astray-dev/astray/ingest/event"
)

// Detector is stateless; the zero value is ready.
type Detector struct{}

// Info declares the detector.
func (Detector) Info() detect.Info {
	return detect.Info{
		Name: "secret-exposure", Version: "2", Severity: alert.Critical, Rank: 90, Direct: true,
		Title: "%s put a credential where others can read it",
		Techniques: []alert.Technique{
			{Framework: "ATT&CK", Version: "18", ID: "T1552", Name: "Unsecured Credentials"},
			{Framework: "ATLAS", Version: "5", ID: "AML.T0055", Name: "Unsecured Credentials"},
			{Framework: "OWASP NHI", Version: "2025", ID: "NHI2", Name: "Secret Leakage"},
		},
		Next:  "Revoke the credential now; its fingerprint tells where it is used.",
		Where: "notEmpty(secrets.field)",
	}
}

// Probability, as a natural logarithm, that a match of a secret's pattern in a post, or elsewhere, is harmless.
const (
	inPost    = -8 * math.Ln10
	elsewhere = -2 * math.Ln10
)

// Examine reports what redaction found.
func (Detector) Examine(s *feature.Store, v *feature.View, dst []detect.Finding) []detect.Finding {
	for _, x := range v.Event.Secrets {
		if x.Rule == event.RulePlaceholder {
			continue
		}
		logP, usual := elsewhere, "what looks like one there is harmless once in 100 times"
		if v.Event.Kind == event.Post && x.Field == "content" {
			logP, usual = inPost, "what looks like one in a post is harmless once in 100 million times"
		}
		f := detect.Surprise("secrets", fmt.Sprintf("a credential of the kind %s in the field %s, now replaced by %s", x.Rule, x.Field, x.Fingerprint), 1, logP)
		f.Usual = usual
		dst = append(dst, f)
	}
	return dst
}
