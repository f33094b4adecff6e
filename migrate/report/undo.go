package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/undo"
)

// Undo writes the results of removing signatures, one by one.
type Undo interface {
	Signature(undo.Undone) error
	// End closes the result; err is what ended it early, or nil.
	End(s undo.Summary, err error) error
}

type undoText struct {
	w   io.Writer
	dry bool
}

// NewUndoText writes for a person: two lines for each signature, then the counts.
func NewUndoText(w io.Writer, dryRun bool) Undo { return &undoText{w, dryRun} }

func (t *undoText) Signature(u undo.Undone) error {
	var b strings.Builder
	word := "signed"
	if u.Result == undo.NotOurs {
		word = "found"
	}
	fmt.Fprintf(&b, "%-10s %s@%s  %s\n", u.Result, safetext.Safe(u.Repository, 256), safetext.Safe(u.Digest, 80), names(u.Tags))
	fmt.Fprintf(&b, "    signature %s, %s %s  key %s\n", safetext.Safe(u.Signature, 80), word, u.At.UTC().Format(time.RFC3339), safetext.Safe(u.Key, 128))
	if u.Class != "" {
		fmt.Fprintf(&b, "    %s\n", safetext.Safe(string(u.Class), 60))
		indent(&b, u.Reason)
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *undoText) End(s undo.Summary, err error) error {
	n := s.Results
	var b strings.Builder
	first := fmt.Sprintf("removed %d", n[undo.Removed])
	if t.dry {
		first = fmt.Sprintf("would remove %d", n[undo.Removable])
	}
	fmt.Fprintf(&b, "%s, gone already %d, not ours to remove %d, refused %d, failed %d\n", first,
		n[undo.Gone], n[undo.NotOurs], n[undo.Refused], n[undo.Failed])
	if n[undo.NotOurs] > 0 {
		b.WriteString("not ours: a run found it in the registry; this ledger does not prove who made it\n")
	}
	switch {
	case err != nil || s.Drained:
		b.WriteString("not complete: run the same command again\n")
	case !s.Complete():
		b.WriteString("not complete: fix the problems above, then run the same command again\n")
	}
	switch {
	case t.dry:
		b.WriteString("nothing was changed; to delete, give --yes instead of --dry-run\n")
	case n[undo.Removed]+n[undo.Gone] > 0:
		b.WriteString("the next run with this ledger signs these images again, unless DCT has withdrawn them\n")
	}
	_, werr := io.WriteString(t.w, b.String())
	return werr
}

// Undoing is the JSON of an undo. It is written piece by piece: see [Undo].
type Undoing struct {
	Version    int                 `json:"version"`
	Kind       string              `json:"kind"`
	Tool       string              `json:"tool"`
	DryRun     bool                `json:"dry_run"`
	Signatures []undo.Undone       `json:"signatures"`
	Results    map[undo.Result]int `json:"results"`
	Complete   bool                `json:"complete"` // no signature is left that is ours by the ledger; in a dry run: none would be left
	Error      string              `json:"error,omitempty"`
}

type undoJSON struct{ stream }

type undoHead struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	Tool    string `json:"tool"`
	DryRun  bool   `json:"dry_run"`
}

type undoEnd struct {
	Results  map[undo.Result]int `json:"results"`
	Complete bool                `json:"complete"`
	Error    string              `json:"error,omitempty"`
}

// UndoKind distinguishes the JSON from our other JSON.
const UndoKind = "dct2notation.undo"

// NewUndoJSON writes the versioned JSON.
func NewUndoJSON(w io.Writer, tool string, dryRun bool) Undo {
	return &undoJSON{stream{w: w, head: undoHead{1, UndoKind, tool, dryRun}, list: "signatures"}}
}

func (j *undoJSON) Signature(u undo.Undone) error { return j.item(u) }

func (j *undoJSON) End(s undo.Summary, ended error) error {
	end := undoEnd{Results: s.Results, Complete: ended == nil && s.Complete()}
	if ended != nil {
		end.Error = Why(ended)
	}
	return j.end(end)
}
