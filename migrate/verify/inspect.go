package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/migrate"
)

// An Inspection is everything that both sides say about one image.
type Inspection struct {
	Image  string        `json:"image"` // the reference, in full
	GUN    string        `json:"gun"`
	Place  string        `json:"place,omitempty"`  // the repository that the image is in, if it is another
	Tag    string        `json:"tag,omitempty"`    // the requested tag; empty: a digest was requested
	Digest digest.Digest `json:"digest,omitempty"` // the requested digest
	// Class, classes and reason are verify's for the tag; for a digest, those of a tag that has it.
	Row Row        `json:"result"`
	DCT InspectDCT `json:"dct"`
	// TagNow is what the tag points to in the registry. If empty, the reason says that it points to nothing or that
	// this is unknown.
	TagNow       digest.Digest  `json:"tag_now,omitempty"`
	TagNowReason string         `json:"tag_now_reason,omitempty"`
	Images       []InspectImage `json:"images"` // DCT's digest, the tag's, or the requested one
}

// InspectDCT is what DCT says about an image.
type InspectDCT struct {
	Says   Side   `json:"says"`
	Reason string `json:"reason,omitempty"`
	// Digest is the tag's trusted digest, with the role and version that name it. Signers are the signers whose own
	// roles name it too, and Others the roles that name another.
	Digest   digest.Digest `json:"digest,omitempty"`
	Role     string        `json:"role,omitempty"`
	Version  int           `json:"version,omitempty"`
	Signers  []string      `json:"signers,omitempty"`
	Others   []dct.Named   `json:"others,omitempty"`
	Tags     []string      `json:"tags,omitempty"` // all tags that DCT gives the digest
	PinnedBy string        `json:"pinned_by,omitempty"`
	Expired  []string      `json:"expired,omitempty"` // allowed by --allow-expired
	Judged   dct.Judged    `json:"judged,omitzero"`
	Roles    []dct.Role    `json:"roles,omitempty"`
}

// InspectImage is what Notation says about a digest.
type InspectImage struct {
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"media_type,omitempty"`
	Of         []string      `json:"of"` // dct, tag, reference: who names it
	Says       Side          `json:"says"`
	Reason     string        `json:"reason,omitempty"`
	Until      time.Time     `json:"verifies_until,omitzero"` // by the trusted signature; absent: indefinitely
	Count      int           `json:"count"`                   // signatures in the registry's list
	Signatures []Signature   `json:"signatures"`              // the inspected ones, in the registry's order
}

// A Signature is one Notation signature, with the contents of its envelope if that is intact.
type Signature struct {
	Digest    digest.Digest `json:"digest"` // of its manifest
	MediaType string        `json:"media_type,omitempty"`
	Says      Side          `json:"says"`
	Lenient   bool          `json:"lenient,omitempty"` // it passes only by the policy's lenient level; the reason says what a strict one would object to
	Reason    string        `json:"reason,omitempty"`
	// Identity is the signer as a trust policy names it: the subject of its certificate, and the signing profile if
	// there is one.
	Identity     string               `json:"identity,omitempty"`
	Profile      string               `json:"profile,omitempty"`
	Certificates []InspectCertificate `json:"certificates,omitempty"` // leaf first
	Scheme       string               `json:"scheme,omitempty"`
	Plugin       string               `json:"verification_plugin,omitempty"` // required by the envelope
	Signed       time.Time            `json:"signed,omitzero"`               // as the signer says
	Timestamp    time.Time            `json:"timestamp,omitzero"`            // by a time-stamping authority
	Expires      time.Time            `json:"expires,omitzero"`              // of the signature itself
	Until        time.Time            `json:"verifies_until,omitzero"`
	Target       digest.Digest        `json:"target,omitempty"` // the digest that it is over, if that is another one
	Bound        []Binding            `json:"bound,omitempty"`
	Metadata     map[string]string    `json:"metadata,omitempty"`
}

// InspectCertificate is one certificate of a signature's chain.
type InspectCertificate struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Begins  time.Time `json:"begins"`
	Ends    time.Time `json:"ends"`
	SHA256  string    `json:"sha256"`
}

// A Binding is a tag that a signature binds, with the DCT role that named the digest for it.
type Binding struct {
	GUN  string `json:"gun"`
	Tag  string `json:"tag"`
	Role string `json:"role"`
	Now  bool   `json:"now"` // DCT says the same now
}

// Inspect looks up one image by tag or by digest; if both are given, by digest. seen returns the signatures that the
// judge has inspected. The error is ctx's, or says that the ledger could not be read.
func (v *Verification) Inspect(ctx context.Context, gun dct.GUN, tag string, d digest.Digest, seen func(digest.Digest) []Signature) (*Inspection, error) {
	if d != "" {
		tag = ""
	}
	result := &Inspection{GUN: gun.String(), Tag: tag, Digest: d}
	place := v.Scope.PlaceOf(gun)
	if place != result.GUN {
		result.Place = place
	}
	l, err := v.begin().look(ctx, gun, place)
	if err != nil {
		return nil, err
	}
	var target dct.Target
	if l.read != nil {
		result.DCT = InspectDCT{PinnedBy: l.read.PinnedBy(), Expired: l.read.Expired(), Judged: l.read.Judged(), Roles: l.read.Roles()}
		target = targetOf(l.read, tag)
	}
	if tag != "" {
		result.Row = l.tagRow(ctx, target, tag)
		result.TagNow, result.TagNowReason = l.tagNow(ctx, tag)
	} else {
		result.Row = l.digestRow(ctx, d)
	}
	l.inspectDCT(ctx, &result.DCT, target, tag, d)
	only := func(class Class, reason string) {
		result.Row.Class, result.Row.Classes, result.Row.Reason = class, []Class{class}, reason
	}
	switch {
	case l.unread != nil && !(errors.Is(l.unread, dct.ErrUnsigned) && !result.Row.Class.Agrees()): // as in verify: about the repository as a whole
		only(unreadClass(l.unread), l.unread.Error())
	case tag != "" && result.TagNow == "" && result.Row.Class == NoneSigned: // nobody runs what does not exist
		only(Gone, "DCT does not name the tag, and the registry does not have it")
	}
	for _, one := range []struct {
		of string
		d  digest.Digest
	}{{"dct", result.DCT.Digest}, {"tag", result.TagNow}, {"reference", d}} {
		if one.d == "" {
			continue
		}
		if i := slices.IndexFunc(result.Images, func(i InspectImage) bool { return i.Digest == one.d }); i >= 0 {
			result.Images[i].Of = append(result.Images[i].Of, one.of)
			continue
		}
		image := l.inspectImage(ctx, one.d, seen)
		image.Of = []string{one.of}
		result.Images = append(result.Images, image)
	}
	return result, ctx.Err()
}

func targetOf(r *dct.Repository, tag string) dct.Target {
	for _, t := range r.Targets() {
		if t.Tag() == tag {
			return t
		}
	}
	return dct.Target{}
}

// tagRow returns verify's row for a tag.
func (l *looking) tagRow(ctx context.Context, target dct.Target, tag string) Row {
	if target.Tag() != "" {
		return l.target(ctx, target, false)
	}
	f := dct.Finding{Tag: tag, Class: "not-in-dct", Detail: "DCT does not name the tag"}
	if l.read != nil {
		for _, one := range l.read.Findings() {
			if one.Tag == tag {
				f = one
			}
		}
	}
	return l.finding(ctx, f, false)
}

// digestRow returns the row for a digest, whatever its tag.
func (l *looking) digestRow(ctx context.Context, d digest.Digest) Row {
	b := &rowBuilder{Row: Row{Registry: d}}
	image := l.judge(ctx, d)
	verdict, there := image.Value()
	index, listed := l.platform(ctx, verdict, d)
	if l.vouched[d] {
		b.DCT = d
	}
	switch {
	case image.Err() != nil:
		b.say(Unknown, "%v", image.Err())
	case !there:
		b.say(Gone, "the registry has no such digest")
	case l.vouched[d]:
		b.CertificateExpires = verdict.NotAfter
		b.signed(verdict)
	case listed:
		b.Flags = append(b.Flags, FlagPlatform)
		b.CertificateExpires = verdict.NotAfter
		b.signed(verdict)
		return b.row(Agree, fmt.Sprintf("DCT names index %s, which lists the image", index))
	default:
		b.trusted(verdict, NotationOnly, "Notation trusts the digest, and DCT does not name it")
		return b.row(NoneSigned, "DCT does not name the digest")
	}
	return b.row(Agree, "")
}

// inspectDCT fills in what DCT says about the tag or the digest.
func (l *looking) inspectDCT(ctx context.Context, r *InspectDCT, target dct.Target, tag string, d digest.Digest) {
	switch {
	case tag == "":
		r.Says, r.Reason = l.byDCT(d)
		verdict, _ := l.judge(ctx, d).Value()
		if index, listed := l.platform(ctx, verdict, d); listed && r.Says == SideRefuses {
			r.Says, r.Reason = SideTrusts, fmt.Sprintf("it names index %s, which lists the image", index)
		}
	case target.Tag() != "":
		r.Says = SideTrusts
		r.Digest, r.Role, r.Version, r.Signers, r.Others = target.Digest(), target.Role(), target.Version(), target.Signers(), target.Others()
		d = r.Digest
	case l.read == nil:
		r.Says, r.Reason = l.byDCT("")
	default:
		r.Says, r.Reason = SideRefuses, "it does not name the tag"
		for _, f := range l.read.Findings() {
			if f.Tag == tag {
				r.Reason, r.Role, r.Digest = f.Class+": "+f.Detail, f.Role, f.Digest
				if f.Digest != "" { // docker runs it
					r.Says = SideTrusts
				}
			}
		}
	}
	if l.read == nil || d == "" {
		return
	}
	for _, t := range l.read.Targets() {
		if t.Digest() == d {
			r.Tags = append(r.Tags, t.Tag())
			if tag == "" && r.Digest == "" {
				r.Role, r.Version, r.Signers = t.Role(), t.Version(), t.Signers()
			}
		}
	}
	if tag == "" && len(r.Tags) > 0 {
		r.Digest = d
	}
}

func (l *looking) tagNow(ctx context.Context, tag string) (digest.Digest, string) {
	answer := l.tag(ctx, tag)
	now, tagged := answer.Value()
	switch {
	case tagged:
		return now, ""
	case answer.Err() != nil:
		return "", answer.Err().Error()
	}
	return "", "the registry has no such tag"
}

// inspectImage returns what Notation says about a digest.
func (l *looking) inspectImage(ctx context.Context, d digest.Digest, seen func(digest.Digest) []Signature) InspectImage {
	image := InspectImage{Digest: d, Signatures: []Signature{}}
	image.Says, image.Reason = l.byNotation(ctx, d)
	if verdict, there := l.judge(ctx, d).Value(); there {
		image.Count, image.Until = verdict.Signatures, verdict.NotAfter
	}
	if desc, err := l.v.Registry.Resolve(ctx, l.repository, d); err == nil {
		image.MediaType = desc.MediaType
	}
	for _, s := range seen(d) {
		s.Bound = l.bindings(s.Metadata)
		image.Signatures = append(image.Signatures, s)
	}
	return image
}

// bindings returns the tags that signed metadata binds.
func (l *looking) bindings(metadata map[string]string) []Binding {
	bound := migrate.Bound(metadata)
	var all []Binding
	for _, tag := range slices.Sorted(maps.Keys(bound)) {
		b := Binding{GUN: metadata[migrate.MetadataGUN], Tag: tag, Role: bound[tag]}
		if l.read != nil {
			target := targetOf(l.read, tag)
			b.Now = target.Tag() != "" && migrate.Binds(metadata, target)
		}
		all = append(all, b)
	}
	return all
}
