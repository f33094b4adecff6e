// Package state is the migration ledger: what has been done about each item (a digest in a repository, to be signed
// with one key), in one bbolt file, so that a run can be killed at any moment and simply started again.
//
// An item moves planned -> signed -> pushed -> confirmed, or ends skipped or failed until it is planned again. A move
// is compare-and-set on the stage and one transaction: after a crash the item is in its old stage or in its new one.
// When a move returns nil, it is on the disk. Sign stores the envelope with the move, so from then on no crash costs
// another key operation: the next run pushes the same bytes. Confirm deletes them.
//
// What the ledger promises: only one process writes it at a time. Every page is checked before the file is used, and
// every record when it is read, so that damage is an error and never a wrong answer or a crash. A file of a newer
// schema is refused and not touched. A disk error is final, and every later call returns it.
//
// What it does not promise: authority. It holds progress. Trust data verified in this process decides what may be
// signed. Someone who can write the file can forge a record and so cause a skipped item or a repeated push, but no
// signature. The events are chained by hash, which reveals a careless edit but not a rewrite of the whole chain.
//
// All methods of a Ledger may be called from several goroutines at once. They take no context: each waits only
// milliseconds for a commit, which must be recorded even after an interrupt.
//
// README.md in this folder shows the layout of the file and why a crash at any
// point is harmless.
package state
