// Package policy writes down, for each consumer of Notation signatures, what makes the
// signatures of a migration good: repositories, trust anchors and identities.
//
// The way to it: [Migrated] takes in what trust data vouches for or what a ledger says was signed, and finds
// the certificate of each key among those that are [Given]. Of that a [Trust] is made, of a Trust each
// [Consumer] makes its [Output], and a [Folder] is where that is written, if nothing is in the way.
//
// What it promises:
//
//   - A ledger vouches for no certificate: the user or notation's configuration does.
//   - A [Trust] is one neutral value; each consumer is one pure function of it. The same
//     value gives the same bytes.
//   - No output accepts more than the value says. Where a consumer cannot express an
//     identity, the certificate itself is pinned; where that cannot be either, there is a
//     [Refusal] with the reason, and no output.
//   - Each output begins with the guarantees of Docker Content Trust that are lost there,
//     and what makes up for them.
//   - Names of repositories, keys and subjects are data: they are checked or escaped
//     wherever they are written.
//
// What it does not promise: that a consumer which was given the output enforces it. Each
// output ends its comment with a test that must fail once it does.
package policy
