package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// A report says that all is well only where nothing failed and nothing is unknown.
func TestReportsSayThatAllIsWellOnlyWhereItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		totals Totals
		err    error
		want   bool
	}{
		"agree":       {Totals{verify.Agree: 2, verify.NoneSigned: 1}, nil, true},
		"unknown":     {Totals{verify.Agree: 2, verify.Unknown: 1}, nil, false},
		"conflict":    {Totals{verify.Agree: 2, verify.Conflict: 1}, nil, false},
		"interrupted": {Totals{verify.Agree: 2}, context.Canceled, false},
	} {
		var b, text bytes.Buffer
		if err := errors.Join(NewVerifyJSON(&b, "test").End(c.totals, c.err), NewVerifyText(&text, false, time.Now()).End(c.totals, c.err)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "sets agree") != c.want {
			t.Errorf("%s: %s", name, text.String())
		}
		var got struct {
			Agree *bool `json:"agree"`
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Agree == nil || *got.Agree != c.want {
			t.Errorf("%s: %s, %v", name, b.String(), err)
		}
	}
	for name, c := range map[string]struct {
		summary migrate.Summary
		err     error
		want    bool
	}{
		"done":            {migrate.Summary{}, nil, true},
		"a failed item":   {migrate.Summary{Failed: map[failure.Class]int{failure.Permanent: 1}}, nil, false},
		"ended by itself": {migrate.Summary{}, errors.New("ledger"), false},
	} {
		var r Run
		r.Close(c.summary, c.err, time.Now())
		if r.Complete != c.want || (r.Error != "") != (c.err != nil) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
