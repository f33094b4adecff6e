// Package policy writes, for each consumer of Notation signatures, what makes a migration's signatures good:
// repositories, trust anchors and identities.
//
// [Migrated] collects what trust data vouches for or what a ledger says was signed, and finds each key's certificate
// among those that are [Given]. That gives a [Trust]. From a Trust each [Consumer] makes its [Output], which is
// written to a [Folder] if nothing is in the way.
//
// What it promises:
//
//   - A ledger vouches for no certificate: the user or notation's configuration does.
//   - A [Trust] is one neutral value; each consumer is one pure function of it. The same
//     value gives the same bytes.
//   - No output accepts more than the value says. Where a consumer cannot express an
//     identity, the certificate itself is pinned; if that is impossible too, there is a
//     [Refusal] with the reason, and no output.
//   - Each output begins with the guarantees of Docker Content Trust that it loses, and
//     what makes up for them.
//   - Names of repositories, keys and subjects are data: they are checked or escaped
//     wherever they are written.
//
// What it does not promise: that a consumer enforces its output. Each output ends its comment with a test that must
// fail once it does.
package policy
