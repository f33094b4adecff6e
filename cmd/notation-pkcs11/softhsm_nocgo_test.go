//go:build softhsm && (!cgo || !unix)

package main

import "testing"

// TestSoftHSMNeedsCgo keeps a run that asked for the SoftHSM tests from passing
// because none of them was built.
func TestSoftHSMNeedsCgo(t *testing.T) {
	t.Fatal("the SoftHSM tests need a Unix system, CGO_ENABLED=1, a C compiler and the Debian package softhsm2")
}
