// Package transport is the one HTTP stack: every request to a registry, a token server or a Notary server passes
// through a Transport, so that limits and waits depend on the server, not on the number of workers.
//
// Promised:
//   - After a Retry-After, no request of this process goes to that host for that long, and
//     the wait is announced with its reason.
//   - Only requests that are harmless to repeat are repeated, within a budget of tries and time.
//     When the budget is used up the caller gets the last answer, so a busy server (429) is
//     never mistaken for a broken one.
//   - No wait holds an in-flight slot, none outlives the request's context, and no wait
//     for a stalled body is endless.
//   - Redact removes queries and passwords from error texts: registries redirect to storage
//     with presigned URLs, whose query is a credential.
//
// Not promised: limits across processes. Two runs side by side each have their own.
package transport
