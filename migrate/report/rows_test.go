//go:build !race

package report

// rows is the number of rows of a large result.
const rows = 100_000
