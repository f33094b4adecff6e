// Package dct reads Docker Content Trust: the signed targets that a Notary v1 server holds for a repository, verified
// as The Update Framework (TUF) requires.
//
// What it promises:
//
//   - A [Target] comes only from metadata that this process verified, from a pinned
//     root down to the role that names the tag. Its fields are not exported, so no
//     other package can make one with content.
//   - There is no downgrade. Every role that the repository declares and publishes
//     must verify, or the repository fails as a whole: an older digest in another role
//     is never the answer, and neither is a cache.
//   - Versions seen before are floors. An older file, or another file under the same
//     version, is refused, and no option changes that.
//
// What it does not promise: that a target is still in its registry, or that the tag there points to it. The caller
// has to look that up.
//
// Data takes one path: a [Source] returns raw files, the strict gate (gate.go) refuses what two JSON decoders could
// read differently, the notary library checks signatures, thresholds, hashes and expiry (verify.go), and docker's
// rule picks the trusted target of each tag (trusted.go). README.md in this folder lists the differences from docker.
package dct

import (
	"io"

	"github.com/sirupsen/logrus"
)

// The notary library reports through logrus's global logger, with unescaped names from servers. Everything relevant
// reaches our caller as an error instead.
func init() { logrus.SetOutput(io.Discard) }
