// Package migrate is the engine: it turns the verified targets of Docker Content Trust into Notation signatures, and
// compares what both sides say.
//
// What it promises:
//
//   - The key is called in one place, vouch, which takes targets that only package dct
//     can make. It refuses any digest other than theirs, unless the bytes of an index of
//     theirs list it.
//   - An item is signed only after a lookup in the registry has shown no signature of ours.
//     A lookup that failed is unknown, and unknown is not unsigned.
//   - The envelope is in the ledger, on disk, before it is pushed; after a crash the same
//     bytes are pushed again. So a run may be killed anywhere and started again.
//   - A failing item stops no other item. A run ends early only for a ledger that cannot be
//     written, a key that does not do what it is asked, and a breaker (breaker.go).
//   - Verify reads both sides anew. If given a ledger, it also compares with that, and holds
//     trust data to what runs have seen of it, as a run does.
//
// One item takes one way: read.go reads trust data and makes Work of it, platforms.go adds the images that an index
// lists (indexmembership.go proves that it does), inspect.go looks at the registry, item.go moves the item through
// its stages, vouch.go signs. Plan stops after inspecting. What the engine needs from outside is in ports.go; package
// command wires the real parts.
package migrate
