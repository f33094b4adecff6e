package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
	"github.com/dct2notation/dct2notation/migrate"
)

// JSON writes v indented, with a newline behind it. What a terminal would obey in a name is
// escaped: the result may be shown on one.
func JSON[T any](w io.Writer, v T) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = w.Write(append(safetext.JSON(raw), '\n'))
	}
	return err
}

// compact is v in one line.
func compact(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	return safetext.JSON(raw), err
}

// maxPlan bounds a plan file, in bytes: some half a million items.
const maxPlan = 256 << 20

// ReadPlan reads what JSON wrote of a plan, and nothing else: an unknown field is an
// error, since it may say what this version would not obey.
func ReadPlan(r io.Reader) (*migrate.Plan, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxPlan+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPlan {
		return nil, fmt.Errorf("larger than %d bytes", maxPlan)
	}
	var p migrate.Plan
	if err := strictjson.UnmarshalKnown(raw, &p); err != nil {
		return nil, fmt.Errorf("it is not what plan -o json writes: %w", err)
	}
	return &p, nil
}
