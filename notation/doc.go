// Package notation makes and checks Notary Project signatures, around notation-go.
//
// What it promises:
//
//   - [Signer.Sign] returns an envelope only after checking it against the certificate
//     that was expected and the payload that was asked for. It pushes nothing.
//   - A plugin runs in a process group of its own, with a deadline, an output limit and
//     an environment of named variables; when a call returns, no process of it is left
//     but one that made itself a session of its own.
//   - A plugin's answers about itself and about its key are asked once for each run.
//   - An error keeps its class (see package failure), which notation-go's own types lose.
//
// What it does not promise: that two calls for the same image give the same signature.
// Each call spends a key operation and makes a new one; to sign an image once is the
// caller's work (package migrate).
//
// The way of a signature: [Open] proves a key, migrate's vouch asks [Signer.Sign],
// notation-go builds the envelope and calls back plugin.go for the raw signature,
// process.go runs the plugin. The package is named as the field names it; notation-go's
// is imported as notationgo.
package notation
