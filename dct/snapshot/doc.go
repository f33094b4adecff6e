// Package snapshot keeps verified trust data in a directory, so that a migration still
// works, and can still be proven, after the Notary v1 server is gone.
//
// The directory is an OCI image layout: one manifest for each repository, with a layer for each metadata file, byte
// for byte as the server sent it. So tools that copy images copy snapshots, and tools that sign images sign them.
// README.md has the format.
//
// What it promises:
//
//   - [Save] keeps only what a [dct.Reader] has verified in that call, except for its
//     age, and nothing older than what the snapshot has. For a repository that cannot be read
//     now, it keeps what was saved before.
//   - After a kill at any moment, the directory holds the old snapshot or the new one. The
//     next run finds what was written for the new one.
//   - A [Signer] signs only manifests of what was verified in that call, each once. A
//     signature counts for exactly the files that are returned.
//   - The same trust data, saved at the same time, gives the same bytes.
//   - A [Snapshot] returns a file only if it has the size and the SHA-256 that the
//     manifest lists, and the manifest those that the index lists. Damage is an error that
//     names the repository, the role and the file.
//
// What it does not promise: that the snapshot is the right one, or the newest. The
// directory vouches for nothing, and neither do its annotations. Whoever reads it verifies
// it with pins, as if it were a server that may be hostile.
package snapshot
