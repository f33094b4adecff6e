// Package registry is the OCI registry as this tool needs it: find an image by the digest
// that DCT vouched for, list and fetch the Notation signatures beside it, push one more,
// remove one.
//
// Promised:
//   - There is one handle per repository and process. Where the registry has no referrers
//     API, signatures are listed in an index under a tag, which is read, changed and
//     written back: two handles would lose each other's signatures. Other processes that
//     sign the same images must be stopped meanwhile; nothing in the protocol lets us
//     notice them.
//   - Manifests and envelopes are asked for by digest, bounded in size and hashed. What
//     differs is ErrIntegrity.
//   - An error of Signatures means that it is unknown whether there are any, never none.
//     A listed entry that makes no sense is kept, and refused when it is fetched.
//   - Pushing the same bytes again is harmless. An error of PushSignature does not mean
//     that nothing was stored: list to see.
//   - Nothing is deleted but by RemoveSignature, and of that its caller knows what it is, by
//     StoredSignature. Entries of others stay in the list.
//   - Error texts hold no credentials and no queries of presigned addresses.
//
// Who signed is not looked at here: an envelope is bytes until package notation verifies it.
package registry
