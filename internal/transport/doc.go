// Package transport is the one HTTP stack: every request to a registry, a token server or a
// Notary server passes through a Transport, so that limits and patience belong to the
// server and not to the number of workers.
//
// Promised:
//   - A server that says Retry-After is left alone for that long, by all requests of this
//     process to that host, and the wait is announced with its reason.
//   - What can be repeated without harm is repeated, within a budget of tries and time.
//     Nothing else is. When the budget is used up the caller gets the last answer, so a
//     busy server (429) is never mistaken for a broken one.
//   - No wait holds an in-flight slot, none outlives the request's context, and no body
//     that has stopped flowing is waited for without end.
//   - Redact takes queries and passwords out of error texts: registries redirect to storage
//     with presigned URLs, whose query is a credential.
//
// Not promised: limits across processes. Two runs side by side each have their own.
package transport
