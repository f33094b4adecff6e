package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// play types the commands of a migration and collects failed checks.
type play struct {
	*scene
	*screen
	binary string
	page   string   // where to leave the HTML report; empty: nowhere
	done   []string // checks that passed
	wrong  []string // checks that failed
}

// exit codes of the product, as docs/reference/exit-codes.md lists them.
const (
	exitDone     = 0
	exitFailures = 3
	exitDisagree = 4
)

// perform runs the acts. A command with an unexpected exit code ends the play, since what follows depends on it.
func (p *play) perform(ctx context.Context) error {
	begun := time.Now()
	p.prologue()
	for _, act := range []func(context.Context) error{p.plan, p.interrupt, p.resume, p.again, p.compare} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return p.conclude(time.Since(begun))
}

// prologue shows what a user has prepared.
func (p *play) prologue() {
	p.say("Digests and long lists are shortened below; messages on stderr are cut at the margin.")
	p.command("cd", p.dir)
	p.command(append([]string{"export"}, environment("$PWD")...)...)
	p.command("cat", configFile)
	raw, err := os.ReadFile(p.path(configFile))
	if err == nil {
		p.result(string(raw))
	}
}

// verb returns a command line with the flags that all have in common.
func (p *play) verb(name string, more ...string) []string {
	return append([]string{name, "--config", configFile, "--notary-server", p.notary.URL()}, more...)
}

const twoRefused = "two repositories cannot be read, the expired and the tampered one"

func (p *play) plan(ctx context.Context) error {
	p.title("Plan: what would be signed, and why the rest not")
	if _, err := p.typed(ctx, exitFailures, twoRefused, p.verb("plan")...); err != nil {
		return err
	}
	raw, err := p.saved(ctx, exitFailures, "the same, as a file to be reviewed", planFile, p.verb("plan", "-o", "json")...)
	if err != nil {
		return err
	}
	p.check("the plan signs each digest that DCT vouches for and no other", p.planned(raw))
	return nil
}

func (p *play) interrupt(ctx context.Context) error {
	p.title("Run, killed with kill -9 half way")
	before, err := p.keyOperations()
	if err != nil {
		return err
	}
	half := p.total() / 2
	err = p.killed(ctx, func() (bool, error) {
		n, err := p.keyOperations()
		return n-before > half, err
	}, p.verb("run", "--plan", planFile)...)
	if err != nil {
		return err
	}
	after, err := p.keyOperations()
	if err != nil {
		return err
	}
	have, err := p.signatures()
	if err != nil {
		return err
	}
	p.say(fmt.Sprintf("killed after %d of %d key operations; the registries have %d signatures", after-before, p.total(), have))
	if have == 0 || have >= p.total() {
		p.wrong = append(p.wrong, fmt.Sprintf("the kill was not half way: %d of %d signatures were there", have, p.total()))
	}
	out, err := p.typed(ctx, exitDone, "the side file tells, the ledger is not touched", "status", "--state", ledgerFile)
	if err == nil && !strings.HasPrefix(out, "killed") {
		p.wrong = append(p.wrong, "status does not say that the run was killed")
	}
	return err
}

func (p *play) resume(ctx context.Context) error {
	p.title("Run again: the same command goes on where the killed one was")
	out, err := p.typed(ctx, exitFailures, twoRefused, p.verb("run", "--plan", planFile)...)
	if err != nil {
		return err
	}
	n, err := readCounts(out)
	if err != nil {
		return err
	}
	p.check("the second run did what the killed one had not", p.resumed(n))
	spent, err := p.keyOperations()
	if err != nil {
		return err
	}
	// A plan, another plan and the first run ask for one throw-away signature each, to see the key's certificates;
	// the next run asks for one before it pushes what the killed one has signed. A kill wastes at most what the
	// workers had in flight.
	const proofs = 4
	p.say(fmt.Sprintf("%d key operations for %d images: up to %d to see the key's certificate, the others lost in the kill", spent, p.total(), proofs))
	p.check("the kill wasted no more key operations than there are workers", atMost("key operations", spent, p.total()+proofs+workers))
	return nil
}

func (p *play) again(ctx context.Context) error {
	p.title("And a third time: nothing is left to sign")
	before, err := p.keyOperations()
	if err != nil {
		return err
	}
	out, err := p.typed(ctx, exitFailures, twoRefused, p.verb("run", "--plan", planFile)...)
	if err != nil {
		return err
	}
	n, err := readCounts(out)
	if err != nil {
		return err
	}
	after, err := p.keyOperations()
	if err != nil {
		return err
	}
	wrong := atMost("signed or pushed again", n.signed+n.replayed, 0)
	p.check("the third run signed nothing and did not use the key", append(wrong, atMost("key operations", after-before, 0)...))
	return nil
}

func (p *play) compare(ctx context.Context) error {
	p.title("Verify: both signature sets, read anew and compared")
	healthy := p.repositories[0]
	if _, err := p.typed(ctx, exitDone, "both sides agree on every tag of this repository", p.verb("verify", healthy.gun)...); err != nil {
		return err
	}
	p.title("By hand: one image, by notation's own library, without dct2notation")
	if err := p.byHand(ctx, healthy); err != nil {
		return err
	}
	p.title("Verify: everything")
	raw, err := p.saved(ctx, exitDisagree, "as below; for machines", reportFile, p.verb("verify", "-o", "json")...)
	if err != nil {
		return err
	}
	p.check("verify puts each tag in the class that it was made for", p.classified(raw))
	verify := p.verb("verify")
	if p.page != "" {
		verify = append(verify, "--report", "html="+p.page)
	}
	_, err = p.typed(ctx, exitDisagree, "the two sides do not agree everywhere, so Notary v1 cannot go yet", verify...)
	return err
}

// check records what was checked and what was wrong with it.
func (p *play) check(what string, wrong []string) {
	if len(wrong) == 0 {
		p.done = append(p.done, what)
		return
	}
	for _, w := range wrong {
		p.wrong = append(p.wrong, "not so: "+what+": "+w)
	}
}

// conclude looks at the registries and says whether everything was as it should be.
func (p *play) conclude(took time.Duration) error {
	p.title("What was checked, against what the scene was made for")
	for _, c := range []struct {
		what string
		look func() ([]string, error)
	}{
		{fmt.Sprintf("each of the %d digests that DCT vouches for has exactly one signature", p.total()), p.eachOnce},
		{"nothing else is signed: moved tag, deleted, expired, tampered, signer-only, parts of indexes", p.nothingElse},
	} {
		wrong, err := c.look()
		if err != nil {
			return err
		}
		p.check(c.what, wrong)
	}
	for _, d := range p.done {
		p.line("  ok   " + d)
	}
	const most = 20
	for i, w := range p.wrong {
		if i == most {
			p.line(fmt.Sprintf("  and %d more", len(p.wrong)-most))
			break
		}
		p.line("  NOT  " + shorten(w))
	}
	if len(p.wrong) > 0 {
		return errors.New("not everything was as it should be")
	}
	p.line(fmt.Sprintf("All as it should be, in %.0f s. verify's exit code of %d is right: it reports the moved tag, the", took.Seconds(), exitDisagree))
	p.line("deleted image and the two repositories that may not be trusted. Mend these, and it is 0.")
	return nil
}
