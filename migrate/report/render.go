package report

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/dct2notation/dct2notation/migrate"
)

// Options say how to show a saved result.
type Options struct {
	Now     time.Time // days that are left until a date count from here
	Verbose bool      // text: also the tags on which both sides agree
	History []Past    // earlier results of the same scope, oldest first
}

// renderers make a format of a saved result.
var renderers = map[string]func(io.Writer, *Saved, Options) error{
	"text":       savedText,
	"json":       savedJSON,
	"jsonl":      savedLines,
	"csv":        savedCSV,
	"failures":   savedFailures,
	"junit":      savedJUnit,
	"markdown":   savedMarkdown,
	"prometheus": savedPrometheus,
	"html":       savedHTML,
}

// Formats returns the names that Render accepts, sorted.
func Formats() []string { return slices.Sorted(maps.Keys(renderers)) }

// Render writes a saved result in a format. The output depends only on the result and o.
func Render(w io.Writer, format string, s *Saved, o Options) error {
	render, ok := renderers[format]
	if !ok {
		return fmt.Errorf("format %.40q: there is none of that name", format)
	}
	return render(w, s, o)
}

// savedLines writes the lines again.
func savedLines(w io.Writer, s *Saved, _ Options) error {
	l, err := NewLines(w, s.Head)
	if err == nil {
		err = s.Each(l.Section, l.Row)
	}
	if err == nil && s.Ready != nil {
		err = l.Ready(s.Ready)
	}
	if err == nil {
		err = l.End(s.End)
	}
	return err
}

func savedText(w io.Writer, s *Saved, o Options) error {
	if s.Head.Of == OfRun {
		r, err := s.run()
		if err != nil {
			return err
		}
		return RunText(w, r)
	}
	if s.Ready != nil { // as ready shows it
		return ReadyText(w, s.Ready)
	}
	return s.verification(OfShard(NewVerifyText(w, o.Verbose, o.Now), w, s.Head.Shard))
}

func savedJSON(w io.Writer, s *Saved, _ Options) error {
	if s.Head.Of == OfRun {
		r, err := s.run()
		if err != nil {
			return err
		}
		return JSON(w, r)
	}
	if s.Ready != nil {
		return JSON(w, s.Ready)
	}
	return s.verification(NewVerifyJSON(w, s.Head.Tool, s.Head.Shard))
}

// run restores the report that was written when the run ended.
func (s *Saved) run() (*Run, error) {
	r := &Run{Started: s.Head.Started, Keys: s.Head.Keys, Shard: s.Head.Shard}
	err := s.Each(
		func(one Section) error { r.again(&one, nil); return nil },
		func(row Row) error { r.again(nil, &row); return nil },
	)
	r.Close(migrate.Summary{Repositories: r.Repositories, Items: s.End.Items, LeftOut: r.LeftOut, Drained: s.End.Stopped, Spent: s.End.Spent}, nil, s.End.Ended)
	if r.Complete, r.Error = s.End.Well, s.End.Error; s.asked() {
		r.Error = ""
	}
	return r, err
}

// verification passes a saved verification to a writer of live ones.
func (s *Saved) verification(to Verify) error {
	totals := Totals{}
	var section *Section
	var rows []Row
	flush := func() error {
		if section == nil {
			return nil
		}
		one := verified(*section, rows)
		section, rows = nil, nil
		totals.Add(one)
		return to.Repository(one)
	}
	err := s.Each(func(one Section) error {
		err := flush()
		section = &one
		return err
	}, func(row Row) error {
		rows = append(rows, row)
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	var early error
	switch {
	case s.End.Error == ErrChosen.Error():
		early = ErrChosen
	case s.rest() == Unclear:
		early = errors.New(s.End.Error)
	}
	return to.End(totals, early)
}
