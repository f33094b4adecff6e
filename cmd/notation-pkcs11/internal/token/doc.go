// Package token is the PKCS#11 side of the plugin: it opens a module, finds one
// token and one private key on it, reads what lies beside the key, and signs.
//
// It takes no decision by default where two objects fit: two tokens or two keys
// are an error, never the first of them. It changes nothing on the token (the
// session is read-only). Errors are faults with the protocol's code. A module
// belongs to the whole process, so one Session may be open at a time, and its
// methods are for one goroutine.
//
// The package needs cgo; without it only this comment is left.
package token
