//go:build race

package scenario_test

// raced says that the race detector runs, which makes everything ten times as slow.
const raced = true
