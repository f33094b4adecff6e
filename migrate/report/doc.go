// Package report renders results: what a run did, what a plan would do, what verify found. Its functions are pure
// except for the writer they are given; they access no network and no file. Names from servers are data: whatever
// they contain, no terminal interprets it.
//
// The JSON forms are a versioned contract. Fields may be added within a version; changing or removing a field makes a
// new version.
package report
