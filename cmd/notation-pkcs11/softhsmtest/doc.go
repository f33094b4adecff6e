// Package softhsmtest makes SoftHSM2 tokens for tests: real tokens, each in its own directory, with keys that are
// made inside and never leave.
//
// SoftHSM reads its configuration from SOFTHSM2_CONF once per process, and a PKCS#11 module belongs to the whole
// process. So every operation runs in a child process of its own: this package starts the importing program again
// with a variable set, and the package's init handles that before main or any test begins. Tests that use different
// tokens may therefore be parallel. One Token is for one goroutine.
//
// It needs cgo; without it only this comment is left.
package softhsmtest
