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
	Asked bool // beta or deprecated: written only where it is named
	Write func(Trust) (*Output, error)
}

// Consumers are all, in the order in which they are shown.
func Consumers() []Consumer {
	return []Consumer{
		{"notation", "the notation command: trustpolicy.json and trust store", false, Notation},
		{"flux", "Flux: Secrets, and what an OCIRepository gets", false, Flux},
		{"ratify", "Ratify v1 with Gatekeeper", false, Ratify},
		{"ratify-v2", "Ratify v2, a beta", true, RatifyV2},
		{"kyverno", "Kyverno: ImageValidatingPolicy", false, Kyverno},
		{"connaisseur", "Connaisseur: values for its chart, with DCT beside Notation", false, Connaisseur},
		{"github-actions", "notation-action: workflow, trust policy and trust store", false, GitHubActions},
	}
}

// output is for a consumer's function: it checks the value first, and names the consumer in a
// refusal that does not.
func (t Trust) output(consumer string, write func(*Output) error) (*Output, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	o := &Output{Consumer: consumer, Warnings: t.opened(consumer)}
	if err := write(o); err != nil {
		var r *Refusal
		if errors.As(err, &r) && r.Consumer == "" {
			r.Consumer = consumer
		}
		return nil, err
	}
	return o, nil
}

// pinning are the consumers that know no identities.
var pinning = []string{"kyverno", "connaisseur"}

// opened tells of the authorities of which a consumer takes every certificate.
func (t Trust) opened(consumer string) []string {
	told := map[string]bool{}
	var all []string
	for _, s := range t.Statements {
		ids, err := s.identities()
		nobody := err == nil && slices.Contains(ids, anyone) || slices.Contains(pinning, consumer)
		for _, k := range s.Keys {
			if !nobody && k.Leaf().Subject.CommonName != "" {
				continue
			}
			warning := fmt.Sprintf("key %s: whatever %s issues passes, now and later, and what an authority below it issues: that is what --dedicated-ca means here", k.shown(), subject(k.Anchor()))
			if k.Dedicated && k.Anchor() != k.Leaf() && !told[warning] {
				told[warning] = true
				all = append(all, warning)
			}
		}
	}
	return all
}
