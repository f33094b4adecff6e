package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// noon is when the results of these tests ended. It is also the current time.
var noon = time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)

// saved writes a result to a file and loads it. Whoever has written it knows the same without loading it.
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
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	s, err := Load(open)
	own, ownErr := l.Saved(open)
	if err = errors.Join(err, ownErr); err != nil {
		t.Fatal(err)
	}
	loaded, written := *s, *own
	loaded.open, written.open = nil, nil
	if !reflect.DeepEqual(loaded, written) {
		t.Errorf("as written: got %+v, want as loaded, %+v", written, loaded)
	}
	return own
}
