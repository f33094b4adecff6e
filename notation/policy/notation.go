package policy

import "fmt"

// writeNotation writes the content of the folder NOTATION_CONFIG: trustpolicy.json and the trust store, and a guide,
// since JSON has no comments.
func writeNotation(t Trust, o *Output) error {
	files, err := t.policyAndStore(o, "trustpolicy.json", "truststore/x509/")
	if err != nil {
		return err
	}
	o.Lost = lost(lostTag("have the signed tags checked: notation verify -m io.dct2notation.tag.<tag>=<role> repository@digest, as dct2notation verify does for all"))
	test := func(image string, foreign bool) string {
		switch {
		case !foreign:
			return "notation verify " + image + "   # must fail, at each stage: no signature is associated with it"
		case t.Stage == Audit:
			return "notation verify " + image + "   # passes with a warning at this stage; must fail at the stage enforce"
		}
		return "notation verify " + image + "   # must fail"
	}
	g := guide{
		title: "What the notation command trusts after the migration from Docker Content Trust.",
		about: []string{
			"notation 2 reads trustpolicy.oci.json first: where that file is, trustpolicy.json counts for nothing. The files must be regular ones, no links.",
			"By digest, DCT let every image pass; Notation does not: look for running images that were never signed before this is enforced.",
		},
		apply: []string{
			"mkdir -p \"${NOTATION_CONFIG:-$HOME/.config/notation}\"",
			"cp -ri trustpolicy.json truststore \"${NOTATION_CONFIG:-$HOME/.config/notation}/\"",
			"chmod 600 \"${NOTATION_CONFIG:-$HOME/.config/notation}/trustpolicy.json\"   # it takes the place of the one that was there",
			"notation policy show && notation certificate list   # in the stores that it names, no certificates but those above",
		},
		negative: t.negatives(test),
		next:     t.again(o, "DIR"),
	}
	o.Files = append([]File{{"README.txt", []byte(g.text(t, o))}}, files...)
	return nil
}

// policyAndStore returns a trust policy and the trust store that it names.
func (t Trust) policyAndStore(o *Output, policy, store string) ([]File, error) {
	doc, err := t.document(t.level(), t.Statements, exactly)
	if err != nil {
		return nil, err
	}
	raw, err := documentJSON(doc)
	if err != nil {
		return nil, err
	}
	files := []File{{policy, raw}}
	for _, s := range t.Statements {
		files = append(files, s.storeFiles(store)...)
		if len(s.tsa()) > 0 && len(s.anchors()) > 1 {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%s: its time-stamping authorities are trusted for the signatures of all its keys", s.Name))
		}
		o.Warnings = append(o.Warnings, s.crossed()...)
	}
	return files, nil
}

// crossed warns where an identity counts under an authority that did not issue it.
func (s Statement) crossed() []string {
	if len(s.anchors()) < 2 {
		return nil
	}
	return []string{s.Name + ": each of its authorities may vouch for each of its identities: a trust policy cannot say which belongs to which"}
}
