// Package token is the PKCS#11 side of the plugin: it opens a module, finds one token and one private key on it,
// reads the objects stored with the key, and signs.
//
// It never chooses between two matches: two tokens or two keys are an error. It changes nothing on the token (the
// session is read-only). Errors are faults with the protocol's code. A module belongs to the whole process, so only
// one Session may be open at a time, and its methods are for one goroutine.
//
// The package needs cgo; without it only this comment is left.
package token
