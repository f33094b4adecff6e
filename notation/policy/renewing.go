package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Keys whose identity outlives their certificates: what can be expressed for consumers, and what cannot.

// checkRenewing refuses a key with such an identity that no consumer could use.
func (k Key) checkRenewing() error {
	switch {
	case len(k.Chain) != 1:
		return &Refusal{Reason: fmt.Sprintf("key %s: its identity has one root, and no other certificate is trusted", k.shown())}
	case k.byProfile() && k.Dedicated:
		return &Refusal{Reason: fmt.Sprintf("key %s: the root of a signing profile is its service's, which signs for others under it as well", k.shown()), Hint: "leave out --dedicated-ca for this key"}
	case k.Dedicated && len(k.Identity.Usages()) > 0:
		return &Refusal{Reason: fmt.Sprintf("key %s: its identity names an extended key usage since its root certifies others too, so that the root is not dedicated to it", k.shown()), Hint: "leave out --dedicated-ca for this key; or, if the root is indeed its own, --key-eku"}
	case !k.byProfile() && len(k.TSA) == 0:
		return &Refusal{Reason: fmt.Sprintf("key %s: its certificates end soon, and no time-stamping authority is trusted that shows when its signatures were made", k.shown()), Hint: "give --timestamp-root-cert"}
	}
	return nil
}

// renewing refuses what the consumer cannot express about keys whose identity outlives their certificates, and
// returns warnings about the others.
func (t Trust) renewing(c Consumer) (warnings []string, err error) {
	for _, s := range t.Statements {
		for _, k := range s.Keys {
			if !k.renews() {
				continue
			}
			if err := t.canTell(c, k); err != nil {
				return nil, err
			}
			if w := c.limits(k); w != "" && !slices.Contains(warnings, w) {
				warnings = append(warnings, w)
			}
			if k.byProfile() && slices.ContainsFunc(s.Keys, func(other Key) bool { return !other.byProfile() }) {
				warnings = append(warnings, fmt.Sprintf("%s: whatever plugin a signature names decides for it who has signed. Whether a certificate of the other keys' authorities could pass for key %s is up to plugin %s, which has to refuse their signing scheme",
					s.Name, k.shown(), safetext.Safe(k.Plugin, 64)))
			}
		}
	}
	return warnings, nil
}

// canTell refuses a key that the consumer cannot distinguish from others.
func (t Trust) canTell(c Consumer, k Key) error {
	switch {
	case k.byProfile() && !c.plugins:
		return &Refusal{Consumer: c.Name, Reason: fmt.Sprintf("key %s: its signatures are verified by plugin %s alone, and %s runs no verification plugin: it would refuse every image",
			k.shown(), safetext.Safe(k.Plugin, 64), c.Name), Hint: "notation, github-actions and ratify (v1) can run it"}
	case k.byProfile():
		return nil
	case !c.subjects && !k.Dedicated:
		return &Refusal{Consumer: c.Name, Reason: fmt.Sprintf("key %s: its certificates change, and %s knows no subjects: it would have to trust whatever %s issues", k.shown(), c.Name, subject(k.Anchor())),
			Hint: "if that root issues certificates to this key alone, say so with --dedicated-ca"}
	case c.ClusterPolicy && t.ClusterPolicy:
		return &Refusal{Consumer: c.Name, Reason: fmt.Sprintf("key %s: a ClusterPolicy knows no time-stamping authority, and would refuse every image when the certificate that signed it has ended", k.shown()),
			Hint: "leave out --cluster-policy"}
	}
	return nil
}

// limits says what the consumer needs for a key, or what it accepts that is not the key's.
func (c Consumer) limits(k Key) string {
	if k.byProfile() {
		return fmt.Sprintf("key %s: every verifier needs the plugin %s, which asks the service for each image whether its signature was revoked: give it its region (AWS_REGION=%s) and credentials%s. Without, every image is refused",
			k.shown(), safetext.Safe(k.Plugin, 64), k.region(), c.pluginPlace)
	}
	if !c.subjects {
		return "" // accepts everything under the root: see opened
	}
	usages := "extended key usages"
	if own := k.Identity.Usages(); len(own) > 0 {
		usages += " than " + strings.Join(own, ", ")
	}
	return fmt.Sprintf("key %s: trust policies compare the parts of a subject that are named and no others, and look at no extended key usage. Certificates under the same root with more parts than %s, or with other %s, pass here; for dct2notation they are somebody else's",
		k.shown(), k.subject(), usages)
}

// region returns the region of the key's signing profile.
func (k Key) region() string {
	parts := strings.Split(k.Identity.Trusted(), ":")
	return parts[min(3, len(parts)-1)]
}
