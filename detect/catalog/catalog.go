// Package catalog is the explicit list of detectors. A new detector is one package and one line here.
package catalog

import (
	"fmt"
	"strings"

	"github.com/astray-dev/astray/detect"
	"github.com/astray-dev/astray/detect/awakening"
	"github.com/astray-dev/astray/detect/beaconing"
	"github.com/astray-dev/astray/detect/burst"
	"github.com/astray-dev/astray/detect/coordination"
	"github.com/astray-dev/astray/detect/credential"
	"github.com/astray-dev/astray/detect/detour"
	"github.com/astray-dev/astray/detect/drift"
	"github.com/astray-dev/astray/detect/exfiltration"
	"github.com/astray-dev/astray/detect/lateral"
	"github.com/astray-dev/astray/detect/probing"
	"github.com/astray-dev/astray/detect/scraping"
	"github.com/astray-dev/astray/detect/secret"
	"github.com/astray-dev/astray/detect/silence"
	"github.com/astray-dev/astray/detect/worm"
)

// All returns every detector, in the order of their names.
func All() []detect.Detector {
	return []detect.Detector{
		awakening.Detector{},
		beaconing.Detector{},
		burst.Detector{},
		coordination.Detector{},
		credential.Detector{},
		detour.Detector{},
		drift.Detector{},
		exfiltration.Detector{},
		lateral.Detector{},
		probing.Detector{},
		scraping.Detector{},
		secret.Detector{},
		silence.Detector{},
		worm.Detector{},
	}
}

// None is the name that selects no detector: events are stored and baselines learned, nobody is alerted.
const None = "none"

// Select returns the detectors with the given names, all when there are no names.
func Select(names ...string) ([]detect.Detector, error) {
	if len(names) == 0 {
		return All(), nil
	}
	if len(names) == 1 && names[0] == None {
		return nil, nil
	}
	var out []detect.Detector
next:
	for _, name := range names {
		var known []string
		for _, d := range All() {
			if d.Info().Name == name {
				out = append(out, d)
				continue next
			}
			known = append(known, d.Info().Name)
		}
		return nil, fmt.Errorf("unknown detector %q (known: %s)", name, strings.Join(known, ", "))
	}
	return out, nil
}
