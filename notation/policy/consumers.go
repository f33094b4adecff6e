package policy

import (
	"errors"
	"fmt"
	"slices"
)

// A Consumer is something that verifies Notation signatures.
type Consumer struct {
	Name  string
	About string
	Asked bool // beta or deprecated: written only if named
	// ClusterPolicy: it has an older kind of policy, written if [Trust].ClusterPolicy is set.
	ClusterPolicy bool

	subjects bool // it can tell the certificates of one authority apart
	plugins  bool // it runs verification plugins
	// pluginPlace says where it looks for plugins; empty: notation's place.
	pluginPlace string
	timestamp   asking // whose signatures need a timestamp, if it is given an authority
	installed   bool   // it reads notation's own folder, where other files may interfere
	patches     string // prefix of files for single statements; empty: none
	optional    string // a file that some flags require; empty: none

	write func(Trust, *Output) error
}

// asking says whose signatures a consumer wants countersigned, if it is given a time-stamping authority.
type asking int

const (
	ofNone  asking = iota
	ofKeys         // those only of keys that have an authority
	ofEvery        // of all keys, if one has an authority
)

// The consumers.
var (
	Notation      = Consumer{Name: "notation", About: "the notation command: trustpolicy.json and trust store", subjects: true, plugins: true, installed: true, write: writeNotation}
	Flux          = Consumer{Name: "flux", About: "Flux: Secrets, and what an OCIRepository gets", subjects: true, patches: "patch-", write: writeFlux}
	Ratify        = Consumer{Name: "ratify", About: "Ratify v1 with Gatekeeper", subjects: true, plugins: true, pluginPlace: ", in Ratify's container, with the plugin's file in its folder of plugins (/.ratify/plugins)", optional: "provider.yaml", write: writeRatify}
	RatifyV2      = Consumer{Name: "ratify-v2", About: "Ratify v2, a beta", Asked: true, subjects: true, timestamp: ofEvery, optional: "provider.yaml", write: writeRatifyV2}
	Kyverno       = Consumer{Name: "kyverno", About: "Kyverno: ImageValidatingPolicy", ClusterPolicy: true, timestamp: ofKeys, write: writeKyverno}
	Connaisseur   = Consumer{Name: "connaisseur", About: "Connaisseur: values for its chart, with DCT beside Notation", write: writeConnaisseur}
	GitHubActions = Consumer{Name: "github-actions", About: "notation-action: workflow, trust policy and trust store", subjects: true, plugins: true, write: writeGitHubActions}
)

// Consumers returns all consumers, in the order in which they are shown.
func Consumers() []Consumer {
	return []Consumer{Notation, Flux, Ratify, RatifyV2, Kyverno, Connaisseur, GitHubActions}
}

// Write returns the consumer's output, or a [*Refusal]. The Refusal is about t, if it cannot be written for any
// consumer, or about what this consumer cannot express, with its name.
func (c Consumer) Write(t Trust) (*Output, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	warnings, err := t.renewing(c)
	if err != nil {
		return nil, err
	}
	o := &Output{Consumer: c, Warnings: append(warnings, t.opened(c)...)}
	if err := c.write(t, o); err != nil {
		var r *Refusal
		if errors.As(err, &r) && r.Consumer == "" {
			r.Consumer = c.Name
		}
		return nil, err
	}
	return o, nil
}

// wantsTimestamp reports whether the consumer refuses a key's signatures that have no timestamp; some says that
// another key beside it has a time-stamping authority.
func (c Consumer) wantsTimestamp(t Trust, k Key, some bool) bool {
	switch c.timestamp {
	case ofKeys:
		return len(k.TSA) > 0 && !t.ClusterPolicy
	case ofEvery:
		return some
	}
	return false
}

// opened warns of the authorities whose every certificate the consumer accepts.
func (t Trust) opened(c Consumer) []string {
	told := map[string]bool{}
	var all []string
	for _, s := range t.Statements {
		ids, err := s.identities()
		nobody := err == nil && slices.Contains(ids, anyone) || !c.subjects
		for _, k := range s.Keys {
			if !nobody && k.hasName() {
				continue
			}
			warning := fmt.Sprintf("key %s: whatever %s issues passes, now and later, and what an authority below it issues: that is what --dedicated-ca means here", k.shown(), subject(k.Anchor()))
			if k.Dedicated && (k.renews() || k.Anchor() != k.Leaf()) && !told[warning] {
				told[warning] = true
				all = append(all, warning)
			}
		}
	}
	return all
}
