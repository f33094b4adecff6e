package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/state"
)

// A copy that an earlier process left says nothing of what was signed since. No verb says yes
// because of it.
func TestACopyOlderThanTheLedgersHolderIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	must(t, l.SaveCopy())
	log := slog.New(slog.DiscardHandler)
	now, err := session.ReadLedger(path, log)
	must(t, err)
	must(t, now.Close())
	before := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(state.CopyPath(path), before, before))
	old, err := session.ReadLedger(path, log)
	var busy *state.LockedError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), "or leave out --ledger") {
		t.Errorf("got %v, %v, want that the ledger is in use", old, err)
	}
}

// A copy is complete only if it was made after the last pass of the process that holds the ledger,
// and before the next pass began.
func TestACopyHasAllBetweenTwoPasses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	log := slog.New(slog.DiscardHandler)
	st := output.NewStatusFile(path, log)
	st.Rests = true
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"in the first pass", func() { must(t, l.SaveCopy()) }, false},
		{"after it, before the copy", func() { st.End(output.Counts{Known: 0, Done: 0}, nil) }, false},
		{"between two passes", func() { must(t, l.SaveCopy()) }, true},
		{"of another process", func() { st.Now.PID++; st.Write(); must(t, l.SaveCopy()); st.Now.PID-- }, false},
		{"in the second pass", func() { st = output.NewStatusFile(path, log); must(t, l.SaveCopy()) }, false},
		{"without a status", func() { must(t, os.Remove(output.StatusPath(path))); must(t, l.SaveCopy()) }, false},
	} {
		step.do()
		got, err := session.ReadLedger(path, log)
		must(t, err)
		must(t, got.Close())
		if (got.Behind == "") != step.want {
			t.Errorf("%s: got behind %q, want %t", step.name, got.Behind, step.want)
		}
	}
}

// In containers, process ids repeat: the run that has ended may have had the id of another process that lives. Nobody
// runs who does not hold the ledger.
func TestARunThatHasLostTheLedgerIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{})
	must(t, err)
	st := output.NewStatusFile(path, slog.New(slog.DiscardHandler))
	st.Rests = true
	shown := func() output.Status {
		var out bytes.Buffer
		must(t, showStatus(path, "json", cli.Streams{Out: &out}))
		var got output.Status
		must(t, json.Unmarshal(out.Bytes(), &got))
		return got
	}
	if got := shown(); got.State != output.Runs {
		t.Errorf("while it holds the ledger: got %s, want %s", got.State, output.Runs)
	}
	must(t, l.Close())
	if got := shown(); got.State != output.Gone || got.Ledger == nil {
		t.Errorf("afterwards: got %s with %v in the ledger, want %s and its counts", got.State, got.Ledger, output.Gone)
	}
	st.End(output.Counts{}, nil)
	if got := shown(); got.State != output.Gone {
		t.Errorf("between two passes: got %s, want %s", got.State, output.Gone)
	}
}

// What is read from a copy that may lack something is incomplete. verify does not say that both
// sides agree, and a policy written from it is reported as partial.
func TestACopyThatMayLackSomethingIsNotRelied(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	l, err := state.Open(p.ledger, state.Options{Tool: "holder"})
	must(t, err)
	must(t, l.SaveCopy())
	chain := g.path("release-chain.pem")
	must(t, os.WriteFile(chain, g.release.ChainPEM(), 0o600))
	policy := func(out string) (int, string) {
		code, _, said := g.mainOf([]string{"policy", "notation"}, "-O", g.path(out), "--ledger", p.ledger, "--certificate", "release="+chain)
		return code, said
	}
	code, v := g.verify("strict", p.ledger)
	if code != cli.ExitFailures || v.Complete || v.Agree {
		t.Errorf("verify, while the ledger is held: got exit code %d, agree %v, complete %v, want %d and neither", code, v.Agree, v.Complete, cli.ExitFailures)
	}
	if code, said := policy("held"); code != cli.ExitFailures || !strings.Contains(said, "its copy of") {
		t.Errorf("policy, while the ledger is held: got exit code %d, want %d and why: %s", code, cli.ExitFailures, said)
	}
	must(t, l.Close())
	if code, v = g.verify("strict", p.ledger); code != cli.ExitDone || !v.Complete || !v.Agree {
		t.Errorf("verify, of the ledger itself: got exit code %d, agree %v, complete %v, want %d and both", code, v.Agree, v.Complete, cli.ExitDone)
	}
	if code, said := policy("free"); code != cli.ExitDone {
		t.Errorf("policy, of the ledger itself: got exit code %d, want %d: %s", code, cli.ExitDone, said)
	}
}

// A repository that is withdrawn as a whole keeps its tags in the registry. A tag that Notation
// trusts and no run knows of is reported before undo and after it.
func TestATagOfAWithdrawnRepositoryIsToldOf(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	must(t, p.registry.Tag(p.name, "stray", p.trusted.Digest.String()))
	for _, m := range p.marks { // undone
		for _, s := range p.signatures(m.Descriptor) {
			must(t, p.registry.Delete(p.name, s.Digest.String()))
		}
	}
	g.notary.Delete(p.trust.GUN())
	code, out, said := g.main("verify", "--discover", "changefeed", "--ledger", p.ledger, "--trust-policy", g.path("strict.json"), p.registry.Host()+"/*")
	if code != cli.ExitDisagree || !strings.Contains(string(out), `"stray"`) {
		t.Errorf("got exit code %d, want %d and the tag: %s%s", code, cli.ExitDisagree, out, said)
	}
}
