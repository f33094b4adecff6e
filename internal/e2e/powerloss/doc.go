// Package powerloss makes, from a recording of a program's system calls, the files that a disk may
// hold if the power failed at some moment.
//
// Each file has everything that was written before the last flush that had returned. A later write
// may be there or not, whole or in part (a disk writes sectors of 512 bytes), in any order. A
// sector may also hold neither the old nor the new data, but nonsense. A file's name is certain to
// exist once its folder was flushed.
//
// This does not show a file system that mixes up its own records, or a disk that says it has
// flushed and has not.
package powerloss
