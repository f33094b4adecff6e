package report

import (
	"encoding/xml"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// The elements that CI servers agree on. A problem is a failure, an unknown is an error.
type junitCase struct {
	XMLName   xml.Name      `xml:"testcase"`
	Classname string        `xml:"classname,attr"`
	Name      string        `xml:"name,attr"`
	Failure   *junitOutcome `xml:"failure"`
	Error     *junitOutcome `xml:"error"`
	Skipped   *junitOutcome `xml:"skipped"`
}

type junitOutcome struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// savedJUnit writes one suite with a case for each row, one for each repository whose trust data could not be read,
// and a last one that reports whether everything was looked at: a result that ended early must not pass.
func savedJUnit(w io.Writer, s *Saved, _ Options) error {
	name := "dct2notation " + s.Head.Of
	tests, errs := s.Counts[Problem]+s.Counts[Unclear]+s.Counts[Aside]+s.Counts[Well]+1, s.Counts[Unclear]
	skipped, failures := s.Counts[Aside], s.Counts[Problem]
	gates := s.gateCases()
	for _, g := range gates {
		if tests++; g.Failure != nil {
			failures++
		} else if g.Error != nil {
			errs++
		}
	}
	switch s.rest() {
	case Unclear:
		errs++
	case Aside:
		skipped++
	}
	out := xml.NewEncoder(w)
	out.Indent("", " ")
	attributes := []xml.Attr{
		attribute("name", name), attribute("tests", itoa(tests)), attribute("failures", itoa(failures)),
		attribute("errors", itoa(errs)), attribute("skipped", itoa(skipped)),
		attribute("timestamp", s.Head.Started.UTC().Format("2006-01-02T15:04:05")),
	}
	suites := xml.StartElement{Name: xml.Name{Local: "testsuites"}, Attr: attributes[:5]}
	suite := xml.StartElement{Name: xml.Name{Local: "testsuite"}, Attr: attributes}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	for _, t := range []xml.Token{suites, suite} {
		if err := out.EncodeToken(t); err != nil {
			return err
		}
	}
	err := s.Each(func(one Section) error {
		if sectionStanding(one) == Well {
			return nil
		}
		return out.Encode(newCase(one.Repository, "trust data", sectionStanding(one), classOf(one), one.Reason))
	}, func(r Row) error {
		return out.Encode(newCase(r.Repository, rowName(r), r.Standing, typeOf(r), r.Reason))
	})
	if err != nil {
		return err
	}
	for _, g := range gates {
		if err := out.Encode(g); err != nil {
			return err
		}
	}
	if err := out.Encode(newCase(name, "came to its end", s.rest(), "incomplete", s.End.Error)); err != nil {
		return err
	}
	for _, t := range []xml.Token{suite.End(), suites.End()} {
		if err := out.EncodeToken(t); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n")
	return err
}

// gateCases returns a case for each gate of a result of ready. A gate that nobody has ticked does not hold.
func (s *Saved) gateCases() (all []junitCase) {
	if s.Ready == nil {
		return nil
	}
	for _, g := range s.Ready.Gates {
		st := gateStanding(g)
		if st == Aside {
			st = Unclear
		}
		all = append(all, newCase("gates of ready", g.ID, st, string(g.State), g.Title+"\n"+strings.Join(g.Evidence, "\n")))
	}
	return all
}

func attribute(name, value string) xml.Attr {
	return xml.Attr{Name: xml.Name{Local: name}, Value: value}
}

func newCase(class, name string, s Standing, kind, reason string) junitCase {
	c := junitCase{Classname: safetext.Safe(class, 512), Name: safetext.Safe(name, 1024)}
	first, _, _ := strings.Cut(reason, "\n")
	o := &junitOutcome{Type: safetext.Safe(kind, 64), Message: safetext.Safe(first, 1024), Text: hinted(reason, 4096, safetext.Lines)}
	switch s {
	case Well:
	case Unclear:
		c.Error = o
	case Aside:
		c.Skipped = &junitOutcome{Message: safetext.Safe(kind+": "+first, 1024)}
	default:
		c.Failure = o
	}
	return c
}

// rowName names a row within its repository.
func rowName(r Row) string {
	name := strings.Join(r.Tags, " ")
	if name == "" && r.Digest == "" {
		name = r.Registry // an image that DCT has withdrawn
	}
	if r.Bound == nil || name == "" { // a digest of a run
		name = strings.TrimSpace(name + " " + r.Digest)
	}
	if r.Key != "" {
		name += " key " + r.Key
	}
	return name
}

func typeOf(r Row) string {
	if r.Cause != "" {
		return r.Cause
	}
	return r.Class
}
