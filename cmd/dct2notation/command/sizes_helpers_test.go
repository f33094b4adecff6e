//go:build !race

package command

// The amount of work of the long tests if no number is given. Under the race detector each takes
// five times as long, so there they have a short form. make test runs this package both ways.
const (
	worldsUsually   = 60
	tampersUsually  = 100
	tampersBetween  = 25 // tampers between two checks that all is well again
	passesUsually   = 150
	besideRealTools = true
)
