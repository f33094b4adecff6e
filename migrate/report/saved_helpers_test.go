package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// noon is when the results of these tests ended. It is also the current time.
var noon = time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)

// saved writes a result to a file and loads it.
func saved(t *testing.T, of string, fill func(l *Lines) error, end End) *Saved {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLines(f, NewHead(of, "dct2notation v1", "registry.example.com/*", noon.Add(-time.Hour)))
	if err == nil {
		err = fill(l)
	}
	end.Ended = noon
	if err = errors.Join(err, l.End(end), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Load(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}
