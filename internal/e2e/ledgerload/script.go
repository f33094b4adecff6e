package main

import (
	"crypto/sha256"
	"fmt"

	"github.com/dct2notation/dct2notation/state"
)

// step is one move of an item, and what the ledger has afterwards.
type step struct {
	move     func(l *state.Ledger, n int) error
	stage    state.Stage
	events   int  // of this item so far
	envelope bool // in the outbox
}

var (
	planning = func(l *state.Ledger, n int) error { _, err := l.Plan([]state.Item{item(n)}); return err }
	signing  = func(l *state.Ledger, n int) error { return l.Sign(key(n), envelope(n)) }
	pushing  = func(l *state.Ledger, n int) error { return l.Push(key(n), signature(n)) }
	closing  = func(l *state.Ledger, n int) error { return l.Confirm(key(n), signature(n), "") }
	failing  = func(l *state.Ledger, n int) error { return l.Fail(key(n), "transient", "the registry is down") }
	skipping = func(l *state.Ledger, n int) error {
		return l.Skip(key(n), "missing", "the registry has no such digest")
	}
	dropping = func(l *state.Ledger, n int) error { return l.Discard(key(n), "another certificate") }
)

// Scripts of items. The stage and the number of events together identify the step.
var scripts = [][]step{
	{
		{planning, state.Planned, 0, false}, {signing, state.Signed, 1, true},
		{pushing, state.Pushed, 2, true}, {closing, state.Confirmed, 3, false},
	},
	{
		{planning, state.Planned, 0, false}, {signing, state.Signed, 1, true}, {failing, state.Failed, 2, true},
		{planning, state.Signed, 2, true}, {pushing, state.Pushed, 3, true}, {closing, state.Confirmed, 4, false},
	},
	{
		{planning, state.Planned, 0, false}, {skipping, state.Skipped, 1, false}, {planning, state.Planned, 1, false},
		{signing, state.Signed, 2, true}, {pushing, state.Pushed, 3, true}, {closing, state.Confirmed, 4, false},
	},
	{
		{planning, state.Planned, 0, false}, {signing, state.Signed, 1, true}, {dropping, state.Planned, 2, false},
		{signing, state.Signed, 3, true}, {pushing, state.Pushed, 4, true}, {closing, state.Confirmed, 5, false},
	},
}

func script(n int) []step { return scripts[n%len(scripts)] }

func key(n int) state.Key {
	return state.Key{
		Repository: fmt.Sprintf("registry.example.com/team%d/app", n%3),
		Digest:     fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Append(nil, n))),
		KeyName:    "release",
	}
}

func item(n int) state.Item {
	return state.Item{
		Key: key(n), GUN: key(n).Repository, MediaType: "application/vnd.oci.image.manifest.v1+json", Size: int64(500 + n),
		Tags: []state.Tag{{Name: fmt.Sprintf("v%d", n), Role: "targets/releases", TargetsVersion: 7}},
	}
}

// envelope returns envelopes of different lengths, so that records move between pages.
func envelope(n int) state.Envelope {
	return state.Envelope{
		MediaType: "application/jose+json", Blob: fmt.Appendf(nil, "envelope %d %0*d", n, 300+n*211%2100, n),
		Manifest: fmt.Appendf(nil, `{"n":%d}`, n), ManifestDigest: signature(n), LeafThumbprint: "ab12",
		Metadata: map[string]string{"io.dct2notation.tag.v1": "targets/releases"},
	}
}

func signature(n int) string { return fmt.Sprintf("sha256:%064d", n) }
