package feature

import "github.com/astray-dev/astray/models/similarity"

// Bounds of what texts have in common, as links and entities hold it.
const (
	maxTemplates = similarity.MaxTemplates
	sketchBins   = similarity.MaxPhrases
)
