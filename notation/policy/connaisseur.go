package policy

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
)

// writeConnaisseur writes values for its chart: a validator of Notation signatures for each statement, and, until
// Docker Content Trust is switched off, one of DCT's for each root key. Connaisseur trusts any subject under a
// certificate, so the keys' own certificates are pinned.
func writeConnaisseur(t Trust, o *Output) error {
	if err := t.auditable(o); err != nil {
		return err
	}
	o.Lost = lost(lostTag("the tag is replaced by its digest when a Pod is admitted, so that what was verified is what runs; which digest it is, the registry says"))
	if t.pins() {
		o.Lost = slices.Insert(o.Lost, 0, lostIdentity)
	}
	o.Lost = append(o.Lost, Loss{"Signatures beyond the tenth of an image are not looked at", "keep what is attached to an image below that"})
	validators := []object{
		{"name": "allow", "type": "static", "approve": true},
		{"name": "deny", "type": "static", "approve": false},
	}
	for _, s := range t.Statements {
		v, err := s.validator()
		if err != nil {
			return err
		}
		validators = append(validators, v)
	}
	rules, legacy := t.connaisseurRules(o)
	raw, err := o.manifest(comment(t.connaisseurGuide(o).text(t, o)), object{
		"application": object{"validators": append(validators, legacy...), "policy": rules},
	})
	o.Files = []File{{"values.yaml", raw}}
	return err
}

// auditable refuses the stage audit if Connaisseur would lose what it enforces today. It has two ways to audit: its
// level audit accepts anybody's signature, and its detection mode accepts everything. Both are less than DCT's rules,
// so those remain at this stage.
func (t Trust) auditable(o *Output) error {
	if t.Stage != Audit {
		return nil
	}
	if len(t.Legacy) == 0 {
		return &Refusal{Reason: "at the stage audit the rules of DCT have to stay, and the root keys for them are not known here; Connaisseur's own level audit lets pass what any stranger signed",
			Hint: "leave out --ledger, so that the root keys are read from DCT (images that were moved to another place have none there); or, where dct2notation verify finds nothing amiss, write it with --stage enforce"}
	}
	o.Warnings = append(o.Warnings, "at the stage audit, too, every image is denied that no rule names (*:*); what DCT judges is judged by DCT, and all else by Notation, as at the stage enforce")
	return nil
}

func (t Trust) connaisseurGuide(o *Output) guide {
	about := "An image gets one rule, the most specific: it is judged by DCT or by Notation, never by both. Where both are to be required, let Kyverno verify Notation beside Connaisseur: webhooks of admission must all agree."
	stage := "Whatever no rule names is denied; the rules for the cluster's own images are the chart's. Registries are asked over HTTPS only."
	if t.Stage == Audit {
		stage += " At the stage audit DCT goes on to judge what it judged: Connaisseur cannot audit beside it, and letting DCT go for that would let everything pass. Let dct2notation verify compare both sides meanwhile. The stage enforce moves the rules over to Notation."
	}
	next := t.again(o, "DIR")
	if t.Stage == Audit {
		next[0] = "when dct2notation verify finds that both sides agree:"
	}
	return guide{
		title:    "What Connaisseur trusts during and after the migration from Docker Content Trust: values for its chart 2.10, which they were tried with, or newer.",
		about:    []string{about, stage},
		apply:    []string{"helm upgrade --install connaisseur connaisseur/connaisseur --namespace connaisseur --create-namespace --reuse-values -f values.yaml   # the list of rules is replaced: add yours to it"},
		negative: t.pods("must be denied, at each stage"),
		next:     next,
	}
}

// validator has one certificate per trust root, with one time-stamping authority.
func (s Statement) validator() (object, error) {
	var roots []object
	for i, k := range s.Keys {
		tsa := distinct(k.TSA)
		if len(tsa) > 1 {
			return nil, &Refusal{Reason: fmt.Sprintf("%s: key %d has %d time-stamping authorities, and Connaisseur takes one", s.Name, i+1, len(tsa))}
		}
		name := "default"
		if i > 0 {
			name = fmt.Sprintf("key%d", i)
		}
		root := object{"name": name, "cert": string(k.trusted())}
		if len(tsa) == 1 {
			root["tsCert"] = string(pemOf(tsa[0]))
		}
		roots = append(roots, root)
	}
	return object{"name": s.validatorName(), "type": "notation", "trustRoots": roots}, nil
}

func (s Statement) validatorName() string { return "notation-" + s.Name }

// usualRules returns the chart's rules. Connaisseur puts * before each pattern, which crosses slashes: without the
// denials, images of any registry would pass if their name contains an allowed one, such as
// evil.example.com/registry.k8s.io/x.
func usualRules() []object {
	return []object{
		{"pattern": "*:*", "validator": "deny"},
		{"pattern": "registry.k8s.io/*:*", "validator": "allow"},
		{"pattern": "*/registry.k8s.io/*:*", "validator": "deny"},
		{"pattern": "index.docker.io/securesystemsengineering/*:*", "validator": "allow"},
		{"pattern": "*/index.docker.io/securesystemsengineering/*:*", "validator": "deny"},
	}
}

// rulesOf returns the rules for the images of a repository, by tag and by digest alone.
func rulesOf(repository, validator string, with object) []object {
	var rules []object
	for _, pattern := range []string{repository + ":*", repository + "@*"} {
		rule := object{"pattern": pattern, "validator": validator}
		if with != nil {
			rule["with"] = with
		}
		rules = append(rules, rule)
	}
	return rules
}

// connaisseurRules returns the rules, and the DCT validators that they need.
func (t Trust) connaisseurRules(o *Output) (rules, legacy []object) {
	rules = usualRules()
	byDCT := map[string]string{}
	for i, l := range merged(t.Legacy) {
		name := fmt.Sprintf("dct%d", i)
		legacy = append(legacy, object{"name": name, "type": "notaryv1", "host": l.Server, "trustRoots": []object{{"name": "default", "key": string(l.RootKey)}}})
		for _, r := range l.Repositories {
			byDCT[r] = name
		}
	}
	for _, s := range t.Statements {
		for _, r := range s.Repositories {
			if name, ok := byDCT[r]; ok && t.Stage == Audit {
				rules = append(rules, rulesOf(r, name, nil)...)
				delete(byDCT, r)
				continue
			}
			delete(byDCT, r)
			with := object{"trustRoot": "*", "verificationLevel": trustpolicy.LevelStrict.Name} // at each stage: see auditable
			if len(s.tsa()) > 0 {
				with["verifyTimestamp"] = "afterCertExpiry"
			}
			rules = append(rules, rulesOf(r, s.validatorName(), with)...)
		}
	}
	for _, l := range t.Legacy { // not migrated yet
		for _, r := range l.Repositories {
			if name, ok := byDCT[r]; ok {
				rules = append(rules, rulesOf(r, name, nil)...)
				delete(byDCT, r)
			}
		}
	}
	if len(t.Legacy) == 0 {
		o.Warnings = append(o.Warnings, "the root keys of DCT are not known here, so that no validator of type notaryv1 is written: keep yours for repositories that are not migrated yet")
	}
	return rules, legacy
}

// merged returns one entry for each server and root key.
func merged(all []Legacy) []Legacy {
	var out []Legacy
	for _, l := range all {
		i := slices.IndexFunc(out, func(o Legacy) bool { return o.Server == l.Server && bytes.Equal(o.RootKey, l.RootKey) })
		if i < 0 {
			l.Repositories = slices.Clone(l.Repositories)
			out = append(out, l)
			continue
		}
		out[i].Repositories = append(out[i].Repositories, l.Repositories...)
	}
	return out
}
