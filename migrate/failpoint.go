//go:build failpoint

package migrate

// SignBeforeRecord makes the engine push a signature before the ledger has its envelope:
// the naive order, which the kill test must catch.
func (e *Engine) SignBeforeRecord() { e.signBeforeRecord = true }
