package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// ImageTotals counts the images of a list by who trusts them.
type ImageTotals map[verify.TrustedBy]int

// Images is what both sides say about a list of images, as JSON. It is written piece by piece: see NewImagesJSON.
type Images struct {
	Version  int              `json:"version"`
	Kind     string           `json:"kind"`
	Tool     string           `json:"tool"`
	List     ImageList        `json:"list"`
	Images   []verify.Running `json:"images"`
	Totals   ImageTotals      `json:"totals"`
	Complete bool             `json:"complete"` // servers were asked about all images, and none is unknown
	Agree    bool             `json:"agree"`    // it is complete, and both sides trust all images
}

// ImageList is the list of what runs.
type ImageList struct {
	Name   string    `json:"name"`
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"` // when it was written
}

// ImagesKind distinguishes the JSON from our other JSON.
const ImagesKind = "dct2notation.images"

// trustOrder is the order in which reports show who trusts an image, both sides first.
var trustOrder = []verify.TrustedBy{verify.ByBoth, verify.ByDCT, verify.ByNotation, verify.ByNeither, verify.ByUnknown, verify.NotAsked}

// Disagree reports whether there is an image that not both sides trust.
func (t ImageTotals) Disagree() bool {
	return t[verify.ByDCT]+t[verify.ByNotation]+t[verify.ByNeither] > 0
}

// An ImagesWriter writes a result image by image.
type ImagesWriter interface {
	Image(verify.Running) error
	// End closes the result; err is why it ended early, or nil.
	End(t ImageTotals, err error) error
}

type imagesText struct {
	w        io.Writer
	all      bool
	notAsked map[string]int // images, by registry
}

// NewImagesText writes for a person: the images that not both sides trust, or all of them, and the totals.
func NewImagesText(w io.Writer, all bool) ImagesWriter {
	return &imagesText{w: w, all: all, notAsked: map[string]int{}}
}

func (v *imagesText) Image(r verify.Running) error {
	if r.TrustedBy == verify.NotAsked {
		v.notAsked[migrate.HostOf(r.Image)]++
	}
	if !v.all && (r.TrustedBy == verify.ByBoth || r.TrustedBy == verify.NotAsked) {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %s", r.TrustedBy, safetext.Safe(r.Image, 400))
	if d := r.Digest.String(); d != "" && !strings.HasSuffix(r.Image, d) {
		b.WriteString("  " + safetext.Safe(d, 150))
	}
	if r.DigestFrom == "tag" {
		b.WriteString("  (as the tag is now)")
	}
	b.WriteString("\n")
	if r.Reason != "" {
		indentBy(&b, "           ", r.Reason)
	}
	if runs := Where(r); runs != "" {
		indentBy(&b, "           ", "runs in "+runs)
	}
	_, err := io.WriteString(v.w, b.String())
	return err
}

// Where returns where an image runs; empty: the list does not say.
func Where(r verify.Running) string {
	const most = 3
	var names []string
	for _, p := range r.Places[:min(len(r.Places), most)] {
		name := strings.Join([]string{p.Namespace, p.Pod, p.Container}, "/")
		if p.As != "" {
			name += " (" + p.As + ")"
		}
		names = append(names, safetext.Safe(name, 300))
	}
	if len(names) == 0 {
		return ""
	}
	text := strings.Join(names, ", ")
	if more := r.Count - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (v *imagesText) End(t ImageTotals, err error) error {
	var b strings.Builder
	b.WriteString("\n")
	for _, by := range trustOrder {
		if t[by] > 0 {
			fmt.Fprintf(&b, "%-10s %d\n", by, t[by])
		}
	}
	for _, host := range slices.Sorted(maps.Keys(v.notAsked)) {
		fmt.Fprintf(&b, "not asked: %s of %s, which the configuration does not name\n", safetext.Count(v.notAsked[host], "image"), safetext.Safe(host, 256))
	}
	switch {
	case err != nil:
		b.WriteString("the comparison did not finish\n")
		indent(&b, Why(err))
	case t.Disagree():
		b.WriteString("not both sides trust what runs\n")
	case t[verify.ByUnknown] > 0:
		b.WriteString("not everything could be found out\n")
	case t[verify.NotAsked] > 0:
		b.WriteString("both sides trust what runs of the registries that were asked\n")
	default:
		b.WriteString("both sides trust what runs\n")
	}
	_, werr := io.WriteString(v.w, b.String())
	return werr
}

type imagesJSON struct{ stream }

type imagesHead struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	Tool    string    `json:"tool"`
	List    ImageList `json:"list"`
}

type imagesEnd struct {
	Totals   ImageTotals `json:"totals"`
	Complete bool        `json:"complete"`
	Agree    bool        `json:"agree"`
}

// NewImagesJSON writes the versioned JSON.
func NewImagesJSON(w io.Writer, tool string, list ImageList) ImagesWriter {
	return &imagesJSON{stream{w: w, head: imagesHead{1, ImagesKind, tool, list}, list: "images"}}
}

func (v *imagesJSON) Image(r verify.Running) error { return v.item(r) }

func (v *imagesJSON) End(t ImageTotals, ended error) error {
	whole := ended == nil && t[verify.ByUnknown]+t[verify.NotAsked] == 0
	return v.end(imagesEnd{t, whole, whole && !t.Disagree()})
}
