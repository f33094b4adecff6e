package session

import (
	"iter"
	"maps"
	"net/url"
	"slices"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// This file gives package policy its input from trust data and ledgers, which that package does not know.

// Vouched returns what the verified trust data of a repository means to a policy. keys are by name.
func (f *Session) Vouched(r *dct.Repository, keys map[string]migrate.Key) policy.Vouched {
	v := policy.Vouched{GUN: r.GUN().String(), Place: f.Scope.Place(r.GUN())}
	names := map[string]bool{}
	for _, t := range r.Targets() {
		v.Tags++
		if !f.Scope.Wanted(t.Tag()) {
			continue
		}
		v.Wanted++
		covered := false
		for name, key := range keys {
			if key.Signs(t) {
				covered, names[name] = true, true
			}
		}
		if !covered {
			v.Uncovered++
		}
	}
	v.Keys = slices.Sorted(maps.Keys(names))
	key := r.RootPublicKey()
	if u, err := url.Parse(f.NotaryURL(r.GUN().Registry())); key != nil && err == nil {
		v.Legacy = &policy.Legacy{Server: u.Host, RootKey: key, Repositories: []string{v.Place}}
	}
	return v
}

// ForPolicy returns the key in the form that a policy uses.
func (o *KeyOptions) ForPolicy(key notation.Key) (policy.Configured, error) {
	c := policy.Configured{CertFile: key.CertFile, TSARoot: o.TSARoot, Plugin: key.Plugin}
	err := o.checkIdentity()
	if err == nil {
		c.Identity, c.Root, err = o.Identity()
	}
	return c, cli.Usage(err)
}

// ForPolicy returns what the ledger says about the selected images, for a policy.
func (r *Readable) ForPolicy(selected func(state.Item) bool) policy.Ledger {
	l := policy.Ledger{Signatures: r.signatures, Images: r.images(selected)}
	if r.Known != nil {
		l.Recorded = func(key string) (all []policy.Recorded) {
			for _, s := range r.Known.Named(key) {
				all = append(all, policy.Recorded{Identity: s.Identity, Earlier: s.Earlier, Chain: s.Chain, TSA: s.TSA})
			}
			return all
		}
	}
	return l
}

func (r *Readable) signatures(yield func(policy.Signature, error) bool) {
	for seq := uint64(0); ; {
		page, err := r.Events(seq, 0)
		if err != nil {
			yield(policy.Signature{}, err)
			return
		}
		if len(page) == 0 {
			return
		}
		for _, e := range page {
			seq = e.Seq
			if e.Kind == state.EventSigned && !yield(policy.Signature{Key: e.Item.KeyName, Digest: e.Signature, Leaf: e.LeafThumbprint}, nil) {
				return
			}
		}
	}
}

func (r *Readable) images(selected func(state.Item) bool) iter.Seq2[policy.Image, error] {
	return func(yield func(policy.Image, error) bool) {
		for after := (state.Key{}); ; {
			page, err := r.Items(after, 0)
			if err != nil {
				yield(policy.Image{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Key
			for _, it := range page {
				one := policy.Image{Place: it.Repository, GUN: it.GUN, Key: it.KeyName, Signature: it.Signature, State: imageState(it)}
				if selected(it) && !yield(one, nil) {
					return
				}
			}
		}
	}
}

func imageState(it state.Item) policy.ImageState {
	switch {
	case it.Stage == state.Confirmed:
		return policy.Signed
	case it.Class == string(failure.Missing):
		return policy.Gone
	case it.Stage != state.Skipped:
		return policy.Unfinished
	case it.Class == state.ClassUndone:
		return policy.Undone
	}
	return policy.Unsigned
}
