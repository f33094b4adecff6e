package report

import (
	"encoding/csv"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// csvColumns are a contract like the JSON: new columns may be added at the end.
var csvColumns = []string{
	"repository", "tags", "standing", "class", "cause", "reason", "digest", "registry_digest",
	"role", "key", "platform", "bound", "certificate_expires", "notes", "classes",
}

// savedCSV writes a line for each row, and one without tags for each repository with something to report besides its
// rows.
func savedCSV(w io.Writer, s *Saved, _ Options) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true // SPEC (RFC 4180, 2): lines end with CRLF
	if err := out.Write(csvColumns); err != nil {
		return err
	}
	err := s.Each(func(one Section) error {
		if sectionStanding(one) == Well {
			return nil
		}
		return writeCells(out, one.Repository, "", string(sectionStanding(one)), classOf(one), "", one.Reason, "", "", "", "", "", "", "", "", "")
	}, func(r Row) error {
		return writeCells(out, r.Repository, strings.Join(r.Tags, " "), string(r.Standing), r.Class, r.Cause, r.Reason, r.Digest, r.Registry,
			r.Role, r.Key, r.Platform, optional(r.Bound), date(r.Expires), strings.Join(r.Notes, "; "), strings.Join(r.Classes, " "))
	})
	if err == nil && !s.End.Complete {
		err = writeCells(out, "", "", string(s.rest()), "incomplete", "", s.End.Error, "", "", "", "", "", "", "", "", "")
	}
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func writeCells(out *csv.Writer, cells ...string) error {
	for i, c := range cells {
		cells[i] = cell(c)
	}
	return out.Write(cells)
}

// formula matches the first character of what a spreadsheet would run (OWASP, CSV injection), also in the full-width
// forms of East Asian text.
const formula = "=+\\-@＝＋－＠"

var (
	beginsFormula = regexp.MustCompile("^['\" ]*[" + formula + "]")
	// Where the comma is a decimal sign, spreadsheets separate cells by semicolons.
	splitFormula = regexp.MustCompile(";(['\" ]*[" + formula + "])")
)

// maxCell is the number of characters that common spreadsheets keep in a cell.
const maxCell = 32_000

// cell returns a text in a form that a spreadsheet treats as text.
func cell(s string) string {
	s = splitFormula.ReplaceAllString(safetext.Safe(strings.ReplaceAll(s, "\n", " / "), maxCell), `\x3b$1`)
	if beginsFormula.MatchString(s) {
		return "'" + s
	}
	return s
}

func optional(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
