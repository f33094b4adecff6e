// Package migrate is the engine: it turns the verified targets of Docker Content Trust
// into Notation signatures, and compares what both sides say.
//
// What it promises:
//
//   - The key is called in one place, vouch, which takes targets that only package dct
//     can make and refuses any other digest than theirs, or one that the bytes of an index
//     of theirs do not list.
//   - An item is signed only after a look at the registry said that no signature of ours
//     is there. A look that failed is unknown, and unknown is not unsigned.
//   - The envelope is in the ledger, on disk, before it is pushed; after a crash the same
//     bytes are pushed again. So a run may be killed anywhere and started again.
//   - A failing item stops no other item. What ends a run is a ledger that cannot write,
//     a key that does not do what it is asked, and a breaker (breaker.go).
//   - Verify reads both sides anew. A ledger that it is given is compared on top, and holds
//     trust data to what runs have seen of it, as it does in a run.
//
// One item takes one way: read.go reads trust data and makes Work of it, platforms.go adds
// the images that an index lists (indexmembership.go says when it does), inspect.go looks
// at the registry, item.go moves the item through its stages, vouch.go signs. Plan
// stops after the look. What the engine needs from outside is in ports.go; package
// command wires the real parts.
package migrate
