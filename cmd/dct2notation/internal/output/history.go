package output

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/internal/durable"
	"github.com/dct2notation/dct2notation/migrate/report"
)

// maxHistoryFile is how long the file of earlier results may get before its older half is
// dropped, in bytes.
const maxHistoryFile = 1 << 20

func historyPath(dir string) string { return filepath.Join(dir, "history.jsonl") }

// remember adds a result to those that progress is shown of. The line goes to the file in
// one write, so that another process's is not torn.
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

// torn reports whether the last line has no end: a crash has cut it.
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
		return nil // none yet, or not too long
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

// history are the earlier results of the same scope; none where there is no file.
func history(dir string, saved *report.Saved) []report.Past {
	f, err := os.Open(historyPath(dir))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read from
	return report.ReadHistory(f, saved)
}
