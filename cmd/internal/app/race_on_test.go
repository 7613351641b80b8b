//go:build race

package app_test

// underRace says that the race detector is on: it makes an engine that is started dozens of times too slow to be killed
// in mid-stream within the time a test may take. `make test-faults` runs without it.
const underRace = true
