// Package powerloss makes from a recording of a program's system calls the files that a
// disk may hold when the power went at some moment of it.
//
// What was written before the last flush that had returned is in each of them. Of what was
// written since, each write is there or not, whole or in part (a disk writes sectors of
// 512 bytes), in any order; a sector may also hold neither the old nor the new, but
// nonsense. A file's name is there for sure once its folder was flushed.
//
// What this does not show: a file system that mixes up its own records, and a disk that
// says it has flushed and has not.
package powerloss
