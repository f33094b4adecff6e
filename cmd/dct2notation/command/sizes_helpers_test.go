//go:build !race

package command

// How much the long tests do where nobody asks for a number. With the race detector each takes five times as
// long, so that there they have a short form: make test runs this package both ways.
const (
	worldsUsually   = 60
	tampersUsually  = 100
	tampersBetween  = 25 // two looks whether all is well again
	passesUsually   = 150
	besideRealTools = true
)
