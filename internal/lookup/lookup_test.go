package lookup_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dct2notation/dct2notation/internal/lookup"
)

// TestAnswers checks the promise of the package: what nobody answered is unknown, never absent.
func TestAnswers(t *testing.T) {
	down := errors.New("connection refused")
	for name, c := range map[string]struct {
		answer  lookup.Answer[string]
		found   string
		by      lookup.Authority
		unknown bool
	}{
		"zero value":                   {answer: lookup.Answer[string]{}, unknown: true},
		"found":                        {answer: lookup.Found("v1"), found: "v1"},
		"found, and empty":             {answer: lookup.Found("")},
		"absent":                       {answer: lookup.Absent[string](lookup.Registry), by: lookup.Registry},
		"absent by nobody":             {answer: lookup.Absent[string](""), unknown: true},
		"unknown":                      {answer: lookup.Unknown[string](down), unknown: true},
		"of an error":                  {answer: lookup.Of("half", down), unknown: true},
		"of an absence":                {answer: lookup.Of("", fmt.Errorf("tag v1: %w", &lookup.AbsentError{By: lookup.Notary})), by: lookup.Notary},
		"of an absence nobody told of": {answer: lookup.Of("", &lookup.AbsentError{}), unknown: true},
		"of a value":                   {answer: lookup.Of("v1", nil), found: "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			by, absent := c.answer.Absent()
			if by != c.by || absent != (c.by != "") {
				t.Errorf("Absent() = %q, %v, want %q, %v", by, absent, c.by, c.by != "")
			}
			if got := c.answer.Err() != nil; got != c.unknown {
				t.Errorf("Err() = %v, want one: %v", c.answer.Err(), c.unknown)
			}
			value, found := c.answer.Value()
			if want := c.by == "" && !c.unknown; found != want || found && value != c.found {
				t.Errorf("Value() = %q, %v, want %q, %v", value, found, c.found, want)
			}
			_, err := c.answer.Result()
			if lookup.IsAbsent(err) != absent || (err == nil) != found {
				t.Errorf("Result() = %v, want absent %v, found %v", err, absent, found)
			}
			if again := lookup.Of(c.answer.Result()); (again.Err() != nil) != c.unknown {
				t.Errorf("Of(Result()) = %v, want the same answer", again)
			}
		})
	}
}
