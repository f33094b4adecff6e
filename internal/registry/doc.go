// Package registry talks to OCI registries as this tool needs it: it finds an image by the digest that DCT vouched
// for, lists and fetches its Notation signatures, pushes one more, or removes one.
//
// Promised:
//   - There is one handle per repository and process. Where the registry has no referrers
//     API, signatures are listed in an index under a tag, which is read, changed and
//     written back: two handles would lose each other's signatures. Other processes that
//     sign the same images must be stopped meanwhile; nothing in the protocol lets us
//     notice them.
//   - Manifests and envelopes are requested by digest, bounded in size and hashed. A
//     mismatch is ErrIntegrity.
//   - An error of Signatures means that it is unknown whether the image has any, never that it
//     has none. A malformed entry stays in the list, and is refused when it is fetched.
//   - Pushing the same bytes again is harmless. After an error of PushSignature
//     something may be stored: list to see.
//   - Only RemoveSignature deletes; its caller has checked with StoredSignature what that is.
//     Entries of others stay in the list.
//   - Error texts hold no credentials and no queries of presigned addresses.
//
// This package does not look at who signed: an envelope is bytes until package notation verifies it.
package registry
