//go:build race

package command

// The short forms of the long tests.
const (
	worldsUsually   = 10
	tampersUsually  = 20
	tampersBetween  = 10
	passesUsually   = 30
	besideRealTools = false
)
