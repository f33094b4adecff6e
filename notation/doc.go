// Package notation makes and checks Notary Project signatures, around notation-go.
//
// What it promises:
//
//   - [Signer.Sign] returns an envelope only after checking it against the expected
//     certificate and the requested payload. It pushes nothing.
//   - A plugin runs in its own process group, with a deadline, an output limit and an
//     environment of named variables. When a call returns, none of its processes is left,
//     unless one has started its own session.
//   - A plugin is asked about itself and about its key once per run.
//   - An error keeps its class (see package failure), which notation-go's own types lose.
//
// What it does not promise: that two calls for the same image give the same signature. Each call spends a key
// operation and makes a new one; the caller (package migrate) makes sure that an image is signed once.
//
// How a signature is made: [Open] proves a key, migrate's vouch asks [Signer.Sign], notation-go builds the envelope
// and calls back plugin.go for the raw signature, process.go runs the plugin. The package has the field's name for
// this; notation-go's is imported as notationgo.
package notation
