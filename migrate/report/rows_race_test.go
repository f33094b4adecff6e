//go:build race

package report

// rows is the number of rows of a large result. Under the race detector each takes ten times as
// long.
const rows = 20_000
