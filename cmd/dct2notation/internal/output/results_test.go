package output

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
)

func recordTo(t *testing.T, o *Results, format string) (*recording, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	r, err := o.Record(report.NewHead(report.OfRun, "test", "scope", time.Now()), format, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r, &log
}

func finishWell(t *testing.T, r *recording, format string) string {
	t.Helper()
	r.Note(func(l *report.Lines) error {
		return report.Settled(l, &migrate.Outcome{Repository: "registry.example.com/a", Tags: []string{"v1"}, Result: migrate.ResultSigned})
	})
	var out bytes.Buffer
	if err := r.Finish(report.End{Ended: time.Now(), Complete: true, Well: true}, format, false, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// During a run, and after it was killed, the last result has no end.
func TestTheLastResultIsThatOfTheLastRun(t *testing.T) {
	t.Parallel()
	o := &Results{SavedResults: SavedResults{filepath.Join(t.TempDir(), "results")}}
	o.Reports = []string{"jsonl=" + filepath.Join(t.TempDir(), "shard.jsonl")}
	if err := o.CheckReports(); err != nil {
		t.Fatal(err)
	}
	r, _ := recordTo(t, o, "text")
	finishWell(t, r, "text")
	last := func() *report.Saved {
		saved, err := load(lastResult(o.dir, report.OfRun))
		if err != nil {
			t.Fatal(err)
		}
		return saved
	}
	if !last().End.Well {
		t.Errorf("a good run: got %+v, want it well", last().End)
	}
	killed, _ := recordTo(t, o, "text")
	if saved, err := load(o.wanted[0].path); err != nil || saved.End.Well || saved.End.Complete {
		t.Errorf("an earlier --report for report --merge while another run works: got %+v, error %v, want neither well nor complete", saved, err)
	}
	if saved := last(); saved.End.Well || saved.End.Complete {
		t.Errorf("an earlier result while another run works: got %+v, want neither well nor complete", saved.End)
	}
	_ = killed.file.Close() // as a kill does
	r, _ = recordTo(t, o, "text")
	finishWell(t, r, "text")
	if got := history(o.dir, last()); !last().End.Well || len(got) != 2 {
		t.Errorf("got %+v, history %v, want it well, 2 entries", last().End, got)
	}
	// Files left by a kill are removed eventually.
	leavings := func() []string {
		found, err := filepath.Glob(filepath.Join(o.dir, ".dct2notation-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(leavings()) != 1 {
		t.Errorf("got leavings %v, want 1", leavings())
	}
	old := time.Now().Add(-leftover - time.Hour)
	if err := os.Chtimes(killed.file.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	works, _ := recordTo(t, o, "text") // another process, which has not written for a long time
	if err := os.Chtimes(works.file.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	r, _ = recordTo(t, o, "text")
	finishWell(t, r, "text")
	if left := leavings(); len(left) != 1 || left[0] != works.file.Name() {
		t.Errorf("got leavings %v, want %s, of a process that works", left, works.file.Name())
	}
	finishWell(t, works, "text")
	if len(leavings()) != 0 {
		t.Errorf("got leavings %v, want 0", leavings())
	}
}

// If the directory cannot be written, the result is not saved, but the work and its report are not
// affected.
func TestResultsThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "csv"} {
		o := &Results{SavedResults: SavedResults{filepath.Join(file, "results")}}
		r, log := recordTo(t, o, format)
		if !strings.Contains(log.String(), "not saved for later") {
			t.Errorf("got log %q, want it to say \"not saved for later\"", log)
		}
		if out := finishWell(t, r, format); (format == "csv") != strings.Contains(out, "v1,ok,signed") {
			t.Errorf("%s: got %q, want a row of v1 in csv alone", format, out)
		}
		if _, err := os.Stat(r.file.Name()); !os.IsNotExist(err) {
			t.Errorf("%s: temporary file: got %v, want it gone", format, err)
		}
	}
}

// If a recording could not be written completely, this is reported where a report was requested.
func TestARecordingThatFailsIsToldOf(t *testing.T) {
	t.Parallel()
	for format, tells := range map[string]bool{"text": false, "csv": true} {
		o := &Results{SavedResults: SavedResults{filepath.Join(t.TempDir(), "results")}}
		r, log := recordTo(t, o, format)
		_ = r.file.Close() // as with a failing disk
		var out bytes.Buffer
		err := r.Finish(report.End{Complete: true, Well: true}, format, false, &out)
		if (err != nil) != tells || !tells && !strings.Contains(log.String(), "not saved for later") || out.Len() > 0 {
			t.Errorf("%s: got error %v, output %q, log %s, want an error: %t, no output", format, err, out.String(), log, tells)
		}
		if saved, err := load(lastResult(o.dir, report.OfRun)); err != nil || saved.End.Well {
			t.Errorf("%s, the last result: got error %v, want none and it not well", format, err)
		}
	}
}

// The history continues after a torn line, and drops its older half when it gets long.
func TestHistoryIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	saved := &report.Saved{Head: report.Head{Of: report.OfRun, Scope: "scope"}, End: report.End{Ended: time.Now().UTC()}}
	add := func() {
		if err := remember(dir, saved); err != nil {
			t.Fatal(err)
		}
	}
	add()
	f, err := os.OpenFile(historyPath(dir), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, `{"of":"run","sco`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	add()
	if got := history(dir, saved); len(got) != 2 {
		t.Errorf("got %d results behind a torn line, want 2", len(got))
	}
	line, err := os.ReadFile(historyPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat(line, maxHistoryFile/len(line)+1)
	if err := os.WriteFile(historyPath(dir), long, 0o600); err != nil {
		t.Fatal(err)
	}
	add()
	info, err := os.Stat(historyPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxHistoryFile*2/3 || len(history(dir, saved)) < 100 {
		t.Errorf("got %d bytes, %d results, want at most %d, at least 100", info.Size(), len(history(dir, saved)), maxHistoryFile*2/3)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %s, want 0600", info.Mode())
	}
}
