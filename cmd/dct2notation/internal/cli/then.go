package cli

import (
	"slices"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Then is what a verb has learned of what to run next, beside its exit code. Nil takes nothing. It is not safe for
// concurrent use.
type Then struct {
	Verb   string // in place of what the exit code says
	Ledger string // that was written
	Judged bool   // a trust policy of notation's covers all repositories
	Folder string // that has it, where notation would not look by itself

	Unread  map[failure.Class]*Unread
	Failed  map[failure.Class]int // images
	Differs map[verify.Class]int  // tags
}

// Unread are the repositories whose trust data was not read, of one class.
type Unread struct {
	Count int
	First []string // more than are shown
}

// Do names the verb.
func (t *Then) Do(verb string) {
	if t != nil {
		t.Verb = verb
	}
}

// Wrote names the ledger.
func (t *Then) Wrote(ledger string) {
	if t != nil {
		t.Ledger = ledger
	}
}

// Covered says whether a trust policy judges what was signed.
func (t *Then) Covered(all bool, folder string) {
	if t != nil {
		t.Judged, t.Folder = all, folder
	}
}

// NotRead takes a repository whose trust data was not read.
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

// Fail takes an image that was not signed, or of which it is not known whether to sign it.
func (t *Then) Fail(class failure.Class) {
	if t == nil {
		return
	}
	if t.Failed == nil {
		t.Failed = map[failure.Class]int{}
	}
	t.Failed[class]++
}

// Differ takes a tag on which both sides do not agree.
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
