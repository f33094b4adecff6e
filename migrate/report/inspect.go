package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Inspected is everything that both sides say about one image.
type Inspected struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	Tool    string    `json:"tool"`
	At      time.Time `json:"at"`
	verify.Inspection
	Policy InspectedPolicy `json:"trust_policy"`
}

// InspectedPolicy is the statement of the trust policy that applies to the image.
type InspectedPolicy struct {
	Name       string   `json:"name,omitempty"`
	Level      string   `json:"level,omitempty"`
	Stores     []string `json:"trust_stores,omitempty"`
	Identities []string `json:"trusted_identities,omitempty"`
	Reason     string   `json:"reason,omitempty"` // why no statement applies
}

// InspectKind distinguishes the JSON from our other JSON.
const InspectKind = "dct2notation.inspect"

// NewInspected returns the result to show for an inspection.
func NewInspected(tool string, at time.Time, i *verify.Inspection, p InspectedPolicy) *Inspected {
	return &Inspected{1, InspectKind, tool, at.UTC(), *i, p}
}

// inspectPage writes lines of a name and a text, for a person.
type inspectPage struct{ strings.Builder }

func (p *inspectPage) line(depth int, name, format string, args ...any) {
	text := safetext.Safe(fmt.Sprintf(format, args...), 1000)
	fmt.Fprintf(p, "%s%-*s %s\n", strings.Repeat("  ", depth), 20-2*depth, name, text)
}

// InspectText writes an inspection for a person.
func InspectText(w io.Writer, r *Inspected) error {
	var p inspectPage
	fmt.Fprintf(&p, "%s\n", safetext.Safe(r.Image, 500))
	if r.Place != "" {
		p.line(1, "images in", "%s", r.Place)
	}
	p.dct(r)
	if r.Tag != "" {
		now := r.TagNow.String()
		switch {
		case now == "":
			now = safetext.FirstLine(r.TagNowReason)
		case r.DCT.Digest == r.TagNow:
			now += ", as DCT has it"
		case r.DCT.Digest != "":
			now += ", not DCT's"
		}
		fmt.Fprintf(&p, "\nRegistry\n")
		p.line(1, "tag "+safetext.Safe(r.Tag, 128), "%s", now)
	}
	fmt.Fprintf(&p, "\nNotation\n")
	if r.Policy.Reason != "" {
		p.line(1, "trust policy", "%s", r.Policy.Reason)
	} else {
		p.line(1, "trust policy", "statement %s, level %s, stores %s, identities %s", r.Policy.Name, r.Policy.Level, strings.Join(r.Policy.Stores, ", "), strings.Join(r.Policy.Identities, "; "))
	}
	for _, image := range r.Images {
		p.image(r, image)
	}
	fmt.Fprintf(&p, "\n%s\n", r.Row.Class)
	indent(&p.Builder, r.Row.Reason)
	for _, flag := range r.Row.Flags {
		fmt.Fprintf(&p, "    [%s]\n", safetext.Safe(flag, 60))
	}
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *inspectPage) dct(r *Inspected) {
	d := r.DCT
	fmt.Fprintf(p, "\nDCT\n")
	p.line(1, "repository", "%s", r.GUN)
	said := string(d.Says)
	if d.Reason != "" {
		said += ": " + safetext.FirstLine(d.Reason)
	}
	p.line(1, "says", "%s", said)
	if d.Digest != "" {
		p.line(1, "digest", "%s", d.Digest)
	}
	if d.Role != "" {
		by := d.Role
		if d.Version > 0 {
			by += fmt.Sprintf(", version %d", d.Version)
		}
		p.line(1, "role", "%s", by)
	}
	if len(d.Signers) > 0 {
		p.line(1, "signers", "%s", strings.Join(signerNames(d.Signers), ", "))
	}
	for _, o := range d.Others {
		p.line(1, "but "+safetext.Safe(o.Role, 128), "%s", or(o.Digest.String(), "no valid digest"))
	}
	if len(d.Tags) > 0 {
		p.line(1, "tags of the digest", "%s", some(d.Tags))
	}
	if d.PinnedBy != "" {
		p.line(1, "root pinned by", "%s", d.PinnedBy)
	}
	if len(d.Expired) > 0 {
		p.line(1, "expired, allowed", "%s", strings.Join(d.Expired, ", "))
	}
	for _, role := range d.Roles {
		p.line(1, "  "+safetext.Safe(role.Name, 128), "%s", roleText(role, r.At))
	}
}

// roleText returns which keys a role has, and until when it is valid.
func roleText(role dct.Role, now time.Time) string {
	var ids []string
	for _, k := range role.Keys {
		ids = append(ids, or(k.PublicID, k.ID))
	}
	text := "key " + strings.Join(ids, ", ")
	if role.Threshold > 1 {
		text += fmt.Sprintf(", %d of which have to sign", role.Threshold)
	}
	if role.Version == 0 {
		return text + "; not published"
	}
	return fmt.Sprintf("%s; version %d, until %s%s", text, role.Version, role.Expires.UTC().Format(time.RFC3339), past(role.Expires, now))
}

func past(at, now time.Time) string {
	if at.After(now) {
		return ""
	}
	return " (past)"
}

// signerNames returns the names of signers, as docker trust inspect shows them.
func signerNames(roles []string) (names []string) {
	for _, role := range roles {
		names = append(names, strings.TrimPrefix(role, "targets/"))
	}
	return names
}

func some(names []string) string {
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (p *inspectPage) image(r *Inspected, image verify.InspectImage) {
	var of []string
	for _, who := range image.Of {
		of = append(of, map[string]string{"dct": "DCT's", "tag": "the tag's now", "reference": "asked for"}[who])
	}
	fmt.Fprintf(p, "\n  %s (%s)\n", safetext.Safe(image.Digest.String(), 200), strings.Join(of, ", "))
	said := string(image.Says)
	if image.Reason != "" {
		said += ": " + safetext.FirstLine(image.Reason)
	}
	p.line(2, "says", "%s", said)
	p.line(2, "signatures", "%d", image.Count)
	for i, s := range image.Signatures {
		fmt.Fprintf(p, "    %d. %s\n", i+1, safetext.Safe(s.Digest.String(), 200))
		p.signature(r, s)
	}
	if more := image.Count - len(image.Signatures); more > 0 {
		fmt.Fprintf(p, "    and %d more that were not looked at\n", more)
	}
}

func (p *inspectPage) signature(r *Inspected, s verify.Signature) {
	said := string(s.Says)
	if s.Lenient {
		said += " by its level alone"
	}
	if s.Reason != "" {
		said += ": " + s.Reason
	}
	p.line(3, "policy says", "%s", said)
	if len(s.Certificates) == 0 {
		return // its contents were not read, or are not intact
	}
	leaf := s.Certificates[0]
	p.line(3, "identity", "%s", s.Identity)
	if s.Profile != "" {
		p.line(3, "profile", "%s", s.Profile)
	}
	p.line(3, "certificate", "%s, until %s%s", leaf.SHA256, leaf.Ends.Format(time.RFC3339), past(leaf.Ends, r.At))
	p.line(3, "issued by", "%s", leaf.Issuer)
	p.line(3, "signed", "%s", s.Signed.Format(time.RFC3339))
	if s.Timestamp.IsZero() {
		p.line(3, "timestamp", "none")
	} else {
		p.line(3, "timestamp", "%s", s.Timestamp.UTC().Format(time.RFC3339))
	}
	if !s.Expires.IsZero() {
		p.line(3, "expires", "%s%s", s.Expires.UTC().Format(time.RFC3339), past(s.Expires, r.At))
	}
	if !s.Until.IsZero() {
		p.line(3, "verifies until", "%s%s", s.Until.UTC().Format(time.RFC3339), past(s.Until, r.At))
	}
	if s.Plugin != "" {
		p.line(3, "asks for plugin", "%s", s.Plugin)
	}
	if s.Target != "" {
		p.line(3, "is over", "%s", s.Target)
	}
	for _, b := range s.Bound {
		now := ""
		if !b.Now {
			now = ", which DCT does not say now"
		}
		p.line(3, "binds tag", "%s in %s of %s%s", b.Tag, b.Role, b.GUN, now)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Metadata)) {
		if name != migrate.MetadataGUN && !strings.HasPrefix(name, migrate.MetadataTag) {
			p.line(3, "metadata", "%s=%s", name, s.Metadata[name])
		}
	}
}
