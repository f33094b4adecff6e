package cli

// Then is what a verb has learned of what to run next, beside its exit code. Nil takes nothing.
type Then struct {
	Verb     string   // in place of what the exit code says
	Ledger   string   // that was written
	Unpinned []string // the first repositories whose roots no pin vouches for
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

// Pin names a repository. Ten are more than are shown.
func (t *Then) Pin(repository string) {
	if t != nil && len(t.Unpinned) < 10 {
		t.Unpinned = append(t.Unpinned, repository)
	}
}
