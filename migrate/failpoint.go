//go:build failpoint

package migrate

// SignBeforeRecord makes the engine push a signature before the envelope is in the ledger: the naive order, which the
// kill test must catch.
func (e *Engine) SignBeforeRecord() { e.signBeforeRecord = true }
