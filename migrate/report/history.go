package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// Past is what is kept permanently of a result, to show progress.
type Past struct {
	Of     string         `json:"of"`
	Scope  string         `json:"scope,omitempty"`
	Ended  time.Time      `json:"ended"`
	Well   bool           `json:"well"`
	Whole  bool           `json:"complete"`
	Totals map[string]int `json:"totals"`
	Unread int            `json:"unread"`
}

// Past returns what to keep of a result.
func (s *Saved) Past() Past {
	return Past{s.Head.Of, s.Head.Scope, s.End.Ended, s.End.Well, s.End.Complete, s.End.Totals, s.End.Unread}
}

// maxHistory limits how many earlier results are shown.
const maxHistory = 200

// maxPast limits the length of a line of the history, in bytes.
const maxPast = 64 << 10

// ReadHistory reads lines of Past and keeps the last ones of the same scope as the result, up to it. It skips lines
// that it cannot read: the file is a convenience, and a crash may have cut its last line.
func ReadHistory(r io.Reader, like *Saved) []Past {
	var kept []Past
	for in := bufio.NewReaderSize(r, maxPast); ; {
		raw, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			continue // not one of ours; later lines may be
		}
		if err != nil {
			break // the last line is incomplete
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
