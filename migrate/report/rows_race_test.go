//go:build race

package report

// rows are those of a large result, where each takes ten times as long.
const rows = 20_000
