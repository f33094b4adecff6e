package output

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// Results says where a result goes besides stdout.
type Results struct {
	SavedResults
	Reports []string

	wanted []wantedReport // read by CheckReports
}

// wantedReport is one --report flag.
type wantedReport struct{ format, path string }

// Bind adds the flags.
func (o *Results) Bind(f *pflag.FlagSet) {
	cli.Grouped(f, cli.GroupOutput, func(f *pflag.FlagSet) {
		f.StringArrayVar(&o.Reports, "report", nil, "also write the result to a file, FORMAT=PATH; repeatable: "+strings.Join(report.Formats(), ", "))
	})
	o.SavedResults.Bind(f)
}

// CheckReports parses --report. It is better to know before the work than after that a report cannot be written.
func (o *Results) CheckReports() error {
	o.wanted = nil
	for _, one := range o.Reports {
		format, path, ok := strings.Cut(one, "=")
		if !ok || path == "" {
			return cli.Usage(fmt.Errorf("--report %s: it takes FORMAT=PATH", one))
		}
		if err := cli.CheckFormat("--report", format); err != nil {
			return err
		}
		if slices.ContainsFunc(o.wanted, func(w wantedReport) bool { return filepath.Clean(w.path) == filepath.Clean(path) }) {
			return cli.Usage(fmt.Errorf("--report %s: another --report has the same path", one))
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return cli.Usage(fmt.Errorf("--report %s: directory %s does not exist", one, filepath.Dir(path)))
		}
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return cli.Usage(fmt.Errorf("--report %s: %s is not a regular file", one, path))
		}
		o.wanted = append(o.wanted, wantedReport{format, path})
	}
	return nil
}

// Formats sets the help of --output for verbs whose result is a report.
func Formats(f *pflag.FlagSet) {
	f.Lookup("output").Usage = "format of the result on stdout: " + strings.Join(report.Formats(), ", ")
}

// ScopeText describes what a result covers, so that only results of the same scope are compared.
func ScopeText(names, choice []string) string {
	const most = 500
	text := strings.Join(slices.Concat(slices.Sorted(slices.Values(names)), choice), " ")
	if len(text) > most {
		return fmt.Sprintf("%d names, %s", len(names), digest.FromString(text))
	}
	return text
}

// recording writes a result line by line while the work goes on. Its failures do not stop the work: they are reported
// at the end. Its methods are called one at a time.
type recording struct {
	o     *Results
	log   *slog.Logger
	head  report.Head
	dir   string // "": a temporary file that is deleted
	file  *os.File
	lines *report.Lines
	err   error // the first
}

// Record begins a recording. From then until it ends, the last result and --report jsonl are unfinished ones: after a
// kill, no earlier result is shown in its place. The error says that format and --report ask for something that cannot
// be written.
func (o *Results) Record(head report.Head, format string, log *slog.Logger) (*recording, error) {
	r := &recording{o: o, log: log, head: head}
	dir, err := o.resultsDir()
	if err == nil && dir != "" {
		r.file, err = begin(dir, head)
	}
	if err != nil {
		log.Warn("the result is not saved for later", "reason", err.Error(), "hint", "--results names another directory, or none")
		dir = ""
	}
	r.dir = dir
	if dir == "" {
		r.file, r.err = os.CreateTemp("", recordingOf(head.Of))
	}
	if r.err == nil {
		r.lines, r.err = report.NewLines(r.file, head)
	}
	for _, w := range o.wanted {
		if w.format == "jsonl" && r.err == nil { // report --merge reads it
			r.err = durable.Write(w.path, 0o644, func(to io.Writer) error { return report.Begun(to, head) })
		}
	}
	if r.err != nil && (ofSaved(format) || len(o.wanted) > 0) {
		return nil, fmt.Errorf("recording the result: %w", r.err)
	}
	return r, nil
}

// recordingOf returns the name pattern of recordings.
func recordingOf(of string) string { return ".dct2notation-" + of + "-*.jsonl" }

// begin creates the file of a recording in the directory of results.
func begin(dir string, head report.Head) (*os.File, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sweep(dir, head)
	f, err := os.CreateTemp(dir, recordingOf(head.Of))
	if err != nil {
		return nil, err
	}
	_, _ = durable.TryLock(f) // tells sweep of other processes that it is in use; without locks in the file system, only the time counts
	err = durable.Write(lastResult(dir, head.Of), 0o600, func(w io.Writer) error { return report.Begun(w, head) })
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// An unlocked recording that nobody has touched for leftover belongs to a process that is gone: recordings are locked
// as soon as they are made. If files cannot be locked, only the time counts.
const (
	leftover = time.Hour
	unlocked = 30 * 24 * time.Hour
)

// sweep removes what killed processes left. What it cannot remove does no harm.
func sweep(dir string, head report.Head) {
	old, _ := filepath.Glob(filepath.Join(dir, recordingOf(head.Of))) // the error is that of a bad pattern
	for _, path := range old {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || head.Started.Sub(info.ModTime()) <= leftover {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR|durable.NoFollow|durable.NoWait, 0)
		if err != nil {
			continue
		}
		gone, err := durable.TryLock(f)
		_ = f.Close() // nothing was written
		if gone || err != nil && head.Started.Sub(info.ModTime()) > unlocked {
			_ = os.Remove(path)
		}
	}
}

// ofSaved reports whether a format is made from the saved result; the verb writes text and json itself.
func ofSaved(format string) bool { return format != "text" && format != "json" }

// Note runs one step, unless an earlier one has failed.
func (r *recording) Note(step func(*report.Lines) error) {
	if r.err == nil {
		r.err = step(r.lines)
	}
}

// Finish ends the recording and writes the requested reports. If format is neither text nor json, it writes the
// result to out; the verb writes those two itself.
func (r *recording) Finish(end report.End, format string, verbose bool, out io.Writer) error {
	r.Note(func(l *report.Lines) error { return l.End(end) })
	path, err := r.keep()
	if path != "" && r.dir == "" {
		defer func() { _ = os.Remove(path) }() // a leftover does no harm
	}
	toStdout := ofSaved(format)
	switch {
	case err != nil && !toStdout && len(r.o.wanted) == 0:
		r.log.Warn("the result is not saved for later", "reason", err.Error())
		return nil
	case err != nil:
		return fmt.Errorf("recording the result: %w", err)
	}
	saved, err := r.lines.Saved(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		return fmt.Errorf("recording the result: %w", err)
	}
	if r.dir != "" {
		if err := remember(r.dir, saved); err != nil {
			r.log.Warn("the result is not in the history of results", "reason", err.Error())
		}
	}
	return r.o.Render(saved, format, verbose, toStdout, out)
}

// keep makes the recording the last result of its kind and returns its path.
func (r *recording) keep() (string, error) {
	if r.file == nil {
		return "", r.err
	}
	err := errors.Join(r.err, r.file.Sync(), r.file.Close())
	if err != nil || r.dir == "" {
		if err != nil {
			_ = os.Remove(r.file.Name()) // half a result is of no use
		}
		return r.file.Name(), err
	}
	path := lastResult(r.dir, r.head.Of)
	if err := os.Rename(r.file.Name(), path); err != nil {
		return "", errors.Join(err, os.Remove(r.file.Name()))
	}
	return path, durable.SyncDir(r.dir)
}

// Render writes a saved result in all requested formats.
func (o *Results) Render(saved *report.Saved, format string, verbose, toStdout bool, out io.Writer) error {
	opts := report.Options{Now: time.Now(), Verbose: verbose}
	if dir, err := o.resultsDir(); err == nil && dir != "" {
		opts.History = history(dir, saved)
	}
	var failed error
	for _, w := range o.wanted {
		err := durable.Write(w.path, 0o644, func(to io.Writer) error { return report.Render(to, w.format, saved, opts) })
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("report %s: %w", w.format, err))
		}
	}
	if toStdout {
		failed = errors.Join(failed, report.Render(out, format, saved, opts))
	}
	return failed
}
