package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// decode reads JSON in the one form that encode gives it, but for white space: no member
// that v does not know, none twice, none in another case or order. What two decoders could
// read differently is thereby refused, and so is a flipped bit in a name.
func decode(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("not the JSON it should be: %w", err)
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return err
	}
	if !bytes.Equal(compact.Bytes(), again) {
		return errors.New("it has members that are unknown, twice there, out of order or spelt otherwise")
	}
	return nil
}

// encode gives the same bytes for the same value: maps are sorted by key.
func encode(v any) ([]byte, error) { return json.Marshal(v) }
