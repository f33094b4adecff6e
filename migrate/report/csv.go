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

// csvColumns are a contract like the JSON: columns may be added at the end.
var csvColumns = []string{
	"repository", "tags", "standing", "class", "cause", "reason", "digest", "registry_digest",
	"role", "key", "platform", "bound", "certificate_expires", "notes", "classes",
}

// savedCSV writes a line for each row, and one without tags for each repository of which
// something is to be told beside its rows.
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

// formula begins what a spreadsheet would run (OWASP, CSV injection), also in the widths of
// East Asian text.
const formula = "=+\\-@＝＋－＠"

var (
	beginsFormula = regexp.MustCompile("^['\" ]*[" + formula + "]")
	// Where the comma is a decimal sign, spreadsheets take the semicolon to part cells.
	splitFormula = regexp.MustCompile(";(['\" ]*[" + formula + "])")
)

// maxCell is what the usual spreadsheets hold in one, in characters.
const maxCell = 32_000

// cell is text that a spreadsheet takes as text.
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
