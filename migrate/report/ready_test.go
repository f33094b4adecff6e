package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/migrate/verify"
)

// Names in the evidence are servers'; the gates around them cannot be forged by one.
func TestReadyRendersNothingHostile(t *testing.T) {
	t.Parallel()
	gate := verify.Gate{ID: "agreed", Title: "both sides agree", State: verify.Fails, Evidence: []string{hostile, "`|\n- [x] **holds** (`agreed`)"}, Count: 3, Hint: hostile}
	r := NewReady("test/1", []verify.Gate{gate, {ID: "clients", Title: "unset", Manual: true, State: verify.Open}}, time.Unix(1, 0), time.Unix(2, 0))
	var text, markdown bytes.Buffer
	if err := ReadyText(&text, r); err != nil {
		t.Fatal(err)
	}
	if err := ReadyMarkdown(&markdown, r); err != nil {
		t.Fatal(err)
	}
	calm(t, text.String())
	calm(t, markdown.String())
	if r.Ready || !strings.Contains(text.String(), "not ready: of 2 gates 1 failed, 0 could not be found out, 1 open; 0 hold") || !strings.Contains(text.String(), "and 1 more") {
		t.Errorf("got ready %t\n%s\nwant not ready, of 2 gates 1 failed and 1 open, and 1 more", r.Ready, text.String())
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "- [x]") {
			t.Errorf("ticked by a name: got %q, want none", line)
		}
	}
}
