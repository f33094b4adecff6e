// Package state is the migration ledger: what has been done about each item (a
// digest in a repository, to be signed with one key), in one bbolt file, so
// that a run may be killed at any moment and simply be started again.
//
// An item moves planned -> signed -> pushed -> confirmed, or ends skipped or
// failed until it is planned again. A move is compare-and-set on the stage
// and one transaction: after a crash the item is in its old stage or in its
// new one. When a move returns nil, it is on the disk. Sign stores the
// envelope with the move, so from there on no crash costs another operation of
// the key: the next run pushes the same bytes. Confirm throws them away.
//
// What the ledger promises about itself: it is written by one process at a
// time; every page is checked before the file is used and every record when it
// is read, so that damage is an error and never a wrong answer or the end of
// the process; a file written by a newer schema is refused and not touched; an
// error of the disk is final, and every later call returns it.
//
// What it does not promise: authority. It holds progress. What may be signed
// is decided by trust data verified in this process, and a record forged by
// someone who can write the file can cost a skipped item or a repeated push,
// but no signature. The events are chained by hash so that a careless edit is
// found; whoever rewrites the whole chain is not.
//
// All methods of a Ledger may be called from several goroutines at once. They
// take no context: each waits for a commit of milliseconds, which has to be
// recorded even when the run has been interrupted.
//
// README.md in this folder shows the layout of the file and why a crash at any
// point is harmless.
package state
