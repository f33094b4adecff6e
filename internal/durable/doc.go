// Package durable makes files that survive a power loss, and locks files.
//
// A file written here is, after a crash at any moment, either complete or absent (or still the previous one): the
// bytes are written under a temporary name in the same directory, flushed to the disk, given their name in one step,
// and then the directory is flushed. When a function returns nil, the disk has both the bytes and the name.
//
// What is not promised: a disk that acknowledges a flush it did not do, and Windows, where a directory cannot be
// flushed and the name may therefore be lost (the bytes are never incomplete). A crash may leave a temporary file
// whose name begins with a dot and contains ".tmp-"; nothing reads it.
//
// Everything here may be called from several goroutines and processes at
// once; of two writers of one file, the last one wins.
package durable
