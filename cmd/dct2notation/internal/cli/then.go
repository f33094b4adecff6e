package cli

import (
	"slices"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Then collects what a verb has learned about what to run next, besides its exit code. A nil Then ignores everything.
// It is not safe for concurrent use.
type Then struct {
	Verb   string // instead of the one for the exit code
	Ledger string // the ledger that was written
	Judged bool   // a trust policy of notation's covers all repositories
	Folder string // the folder of that policy, if notation would not look there by itself

	Unread  map[failure.Class]*Unread
	Failed  map[failure.Class]int // images
	Differs map[verify.Class]int  // tags
}

// Unread counts the repositories of one class whose trust data was not read.
type Unread struct {
	Count int
	First []string // more than are shown
}

// Do sets the verb.
func (t *Then) Do(verb string) {
	if t != nil {
		t.Verb = verb
	}
}

// Wrote sets the ledger.
func (t *Then) Wrote(ledger string) {
	if t != nil {
		t.Ledger = ledger
	}
}

// Covered records whether a trust policy covers what was signed.
func (t *Then) Covered(all bool, folder string) {
	if t != nil {
		t.Judged, t.Folder = all, folder
	}
}

// NotRead records a repository whose trust data was not read.
func (t *Then) NotRead(class failure.Class, repository string) {
	if t == nil {
		return
	}
	if t.Unread == nil {
		t.Unread = map[failure.Class]*Unread{}
	}
	of := t.Unread[class]
	if of == nil {
		of = &Unread{}
		t.Unread[class] = of
	}
	if of.Count++; len(of.First) < 10 {
		of.First = append(of.First, repository)
	}
}

// Fail records an image that was not signed, or for which it is unknown whether to sign it.
func (t *Then) Fail(class failure.Class) {
	if t == nil {
		return
	}
	if t.Failed == nil {
		t.Failed = map[failure.Class]int{}
	}
	t.Failed[class]++
}

// Differ records a tag on which the two sides disagree.
func (t *Then) Differ(class verify.Class) {
	if t == nil {
		return
	}
	if t.Differs == nil {
		t.Differs = map[verify.Class]int{}
	}
	t.Differs[class]++
}

// Any reports whether something was not read, failed or differs for one of these reasons.
func (t *Then) Any(classes ...failure.Class) bool {
	return slices.ContainsFunc(classes, func(c failure.Class) bool { return t.Unread[c] != nil || t.Failed[c] > 0 })
}
