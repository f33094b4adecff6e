//go:build !race

package report

// rows are those of a large result.
const rows = 100_000
