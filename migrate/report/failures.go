package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// savedFailures writes what a run could not do, or where verify found a problem or an unknown, as lines that run
// --only reads: a repository, or repository@digest, or repository:tag. Each has its reason as a comment above it.
func savedFailures(w io.Writer, s *Saved, _ Options) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# dct2notation %s of %s: %s; for run --only\n", s.Head.Of, date(s.Head.Started), s.verdict())
	if !s.asked() {
		fmt.Fprintf(out, "%s: %s\n", cutList, comment(cmp.Or(s.End.Error, "it was ended before all was tried")))
	}
	err := s.Each(func(one Section) error {
		switch {
		case one.Class != "":
			failureLine(out, Named{Repository: one.Repository}, one.Class, one.Reason)
		case sectionStanding(one) != Well:
			fmt.Fprintf(out, "# %s: %s\n", comment(one.Repository), comment(one.Reason)) // a run changes nothing about it
		}
		return nil
	}, func(r Row) error {
		if r.Standing == Problem || r.Standing == Unclear {
			failureLine(out, named(r.Repository, r.GUN, cmp.Or(r.Digest, untagged(r)), r.Tags), typeOf(r)+" "+strings.Join(r.Tags, " "), r.Reason)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// cutList begins the comment of a list whose result did not finish. Readers look for it: with it, an empty list does
// not mean that there is nothing to do.
const cutList = "# what it did not come to is not in this list"

// untagged returns the digest of an image that DCT has withdrawn, whose row has no tag.
func untagged(r Row) string {
	if len(r.Tags) > 0 && r.Tags[0] != "" {
		return ""
	}
	return r.Registry
}

// failureLine writes what is named. A name that no registry could have becomes only a comment: it would not be read
// back as the same name.
func failureLine(out *bufio.Writer, n Named, what, reason string) {
	fmt.Fprintf(out, "# %s: %s\n", comment(what), comment(reason))
	if back, err := parseNamed(n.String()); err == nil && back == n {
		fmt.Fprintln(out, n)
		return
	}
	fmt.Fprintf(out, "# not to be named: %s\n", comment(n.String()))
}

func comment(s string) string { return inLine(s) }

// inLine puts a text of several lines, with its hint, on one line.
func inLine(s string) string {
	return strings.ReplaceAll(hinted(s, 600, func(s string, limit int) string {
		return safetext.Safe(strings.ReplaceAll(s, "\n", " / "), limit)
	}), "\n", " / ")
}

// Named is what a list of failures names: a repository as a whole, or one digest or tag of it.
type Named struct {
	Repository  string
	Digest, Tag string // at most one of them
}

func (n Named) String() string {
	switch {
	case n.Digest != "":
		return n.Repository + "@" + n.Digest
	case n.Tag != "":
		return n.Repository + ":" + n.Tag
	}
	return n.Repository
}

// named returns what a row names.
func named(repository, gun, digest string, tags []string) Named {
	n := Named{Repository: cmp.Or(gun, repository), Digest: digest}
	if digest == "" && len(tags) > 0 {
		n.Tag = tags[0]
	}
	return n
}

// parseNamed parses one line as docker parses image names. If it has a digest, its tag is ignored.
func parseNamed(text string) (Named, error) {
	ref, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Named{}, fmt.Errorf("%s: %s", safetext.Safe(text, 256), safetext.Safe(err.Error(), 300)) // the parser's error repeats the text unescaped
	}
	n := Named{Repository: reference.TrimNamed(ref).Name()}
	if d, ok := ref.(reference.Digested); ok {
		n.Digest = d.Digest().String()
	} else if t, ok := ref.(reference.Tagged); ok {
		n.Tag = t.Tag()
	}
	return n, nil
}
