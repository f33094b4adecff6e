package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// Past is what is remembered of a result for good, so that progress can be shown.
type Past struct {
	Of     string         `json:"of"`
	Scope  string         `json:"scope,omitempty"`
	Ended  time.Time      `json:"ended"`
	Well   bool           `json:"well"`
	Whole  bool           `json:"complete"`
	Totals map[string]int `json:"totals"`
	Unread int            `json:"unread"`
}

// Past is what is to be remembered of a result.
func (s *Saved) Past() Past {
	return Past{s.Head.Of, s.Head.Scope, s.End.Ended, s.End.Well, s.End.Complete, s.End.Totals, s.End.Unread}
}

// maxHistory bounds how many earlier results are shown.
const maxHistory = 200

// maxPast bounds a line of the history, in bytes.
const maxPast = 64 << 10

// ReadHistory reads lines of Past and keeps the last ones of the same scope as the result, up to
// it. A line that cannot be read is passed over: the file is a convenience, and a crash may have
// cut its last line.
func ReadHistory(r io.Reader, like *Saved) []Past {
	var kept []Past
	for in := bufio.NewReaderSize(r, maxPast); ; {
		raw, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			continue // none of ours; those behind it are
		}
		if err != nil {
			break // a line without its end was cut
		}
		var p Past
		if json.Unmarshal(raw, &p) != nil || p.Of != like.Head.Of || p.Scope != like.Head.Scope || p.Ended.IsZero() || p.Ended.After(like.End.Ended) {
			continue
		}
		if kept = append(kept, p); len(kept) > 2*maxHistory {
			kept = append([]Past(nil), kept[maxHistory:]...)
		}
	}
	return kept[max(0, len(kept)-maxHistory):]
}
