// Package report renders results: what a run did, what a plan would do, what verify
// found. Its functions are pure but for the writer they are given; they reach no network
// and no file. Names from servers are data: whatever they hold, no terminal obeys it.
//
// The JSON forms are a contract with a version. Fields may be added within a version; a
// field that changes or goes makes a new one.
package report
