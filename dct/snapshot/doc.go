// Package snapshot keeps verified trust data in a directory, so that a migration still
// works, and can still be proven, after the Notary v1 server is gone.
//
// The directory is an OCI image layout: one manifest for each repository, with a layer for
// each metadata file in the bytes that the server sent. So tools that copy images copy
// snapshots, and tools that sign images sign them. README.md has the format.
//
// What it promises:
//
//   - [Save] keeps nothing that a [dct.Reader] has not verified in that call, but for its
//     age, and nothing older than what the snapshot has. A repository that cannot be read now keeps what
//     was saved of it before.
//   - Killed at any moment, the directory is the snapshot from before or the new one. What
//     was written for the new one is found again by the next run.
//   - A [Signer] is asked for nothing but manifests of what was verified in that call, and
//     once for each. A signature counts for the very files that are handed out.
//   - The same trust data, saved at the same time, gives the same bytes.
//   - A [Snapshot] hands out a file only if it has the size and the SHA-256 that the
//     manifest lists, and the manifest those that the index lists. Damage is an error that
//     names the repository, the role and the file.
//
// What it does not promise: that the snapshot is the right one, or the newest. The
// directory vouches for nothing, and neither do its annotations. Whoever reads it verifies
// it with pins, as if it were a server that may be hostile.
package snapshot
