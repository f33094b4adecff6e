package output

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// maxHistoryFile is the size in bytes at which the older half of the file of earlier results is dropped.
const maxHistoryFile = 1 << 20

func historyPath(dir string) string { return filepath.Join(dir, "history.jsonl") }

// remember adds a result to the history that progress is shown from. It appends the line in one write, so that lines
// of other processes stay whole.
func remember(dir string, saved *report.Saved) error {
	raw, err := json.Marshal(saved.Past())
	if err != nil {
		return err
	}
	if err := trimHistory(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(historyPath(dir), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if torn(f) {
		raw = append([]byte{'\n'}, raw...)
	}
	if _, err := f.Write(raw); err != nil {
		_ = f.Close() // the write's error says more
		return err
	}
	return f.Close()
}

// torn reports whether the last line is incomplete: a crash has cut it.
func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

func trimHistory(dir string) error {
	info, err := os.Stat(historyPath(dir))
	if err != nil || info.Size() < maxHistoryFile {
		return nil // none yet, or short enough
	}
	raw, err := os.ReadFile(historyPath(dir))
	if err != nil {
		return err
	}
	half := raw[len(raw)/2:]
	for i, b := range half {
		if b == '\n' {
			return durable.WriteFile(historyPath(dir), half[i+1:], 0o600)
		}
	}
	return durable.WriteFile(historyPath(dir), nil, 0o600)
}

// history returns the earlier results of the same scope; none if there is no file.
func history(dir string, saved *report.Saved) []report.Past {
	f, err := os.Open(historyPath(dir))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read from
	return report.ReadHistory(f, saved)
}
