package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
	"github.com/dct2notation/dct2notation/migrate"
)

// JSON writes v indented, with a newline at the end. Control characters in names are escaped, because the result may
// be shown on a terminal.
func JSON[T any](w io.Writer, v T) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = w.Write(append(safetext.JSON(raw), '\n'))
	}
	return err
}

// compact encodes v in one line.
func compact(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	return safetext.JSON(raw), err
}

// A stream writes one object whose list grows as its items come, so that memory does not.
type stream struct {
	w    io.Writer
	head any    // comes before the list
	list string // the list's name
	line bool   // everything in one line

	begun bool
}

// newline starts a new line if the object may have several.
func (s *stream) newline() string {
	if s.line {
		return ""
	}
	return "\n"
}

// begin writes what comes before the first item, and returns the separator before the next one.
func (s *stream) begin() (separator string, err error) {
	if s.begun {
		return "," + s.newline(), nil
	}
	s.begun = true
	head, err := compact(s.head)
	if err == nil {
		_, err = fmt.Fprintf(s.w, `%s,"%s":[`, strings.TrimSuffix(string(head), "}"), s.list)
	}
	return s.newline(), err
}

// item writes the next item.
func (s *stream) item(v any) error {
	raw, err := compact(v)
	if err != nil {
		return err
	}
	separator, err := s.begin()
	if err == nil {
		_, err = fmt.Fprintf(s.w, "%s%s", separator, raw)
	}
	return err
}

// end writes what comes after the list.
func (s *stream) end(v any) error {
	raw, err := compact(v)
	if err == nil {
		_, err = s.begin()
	}
	if err == nil {
		_, err = fmt.Fprintf(s.w, "%s],%s\n", s.newline(), strings.TrimPrefix(string(raw), "{"))
	}
	return err
}

// maxPlan limits the size of a plan file, in bytes: about half a million items.
const maxPlan = 256 << 20

// ReadPlan reads a plan that JSON wrote, and nothing else: an unknown field is an error, since it may be an
// instruction that this version does not know.
func ReadPlan(r io.Reader) (*migrate.Plan, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxPlan+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPlan {
		return nil, fmt.Errorf("larger than %d bytes", maxPlan)
	}
	var p migrate.Plan
	if err := strictjson.UnmarshalKnown(raw, &p); err != nil {
		return nil, fmt.Errorf("it is not what plan -o json writes: %w", err)
	}
	return &p, nil
}
