package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// decode reads JSON in exactly encode's form, except for white space: no unknown or repeated member, none in another
// case or order. So it refuses what two decoders could read differently, and a flipped bit in a name.
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

// encode returns the same bytes for the same value: maps are sorted by key.
func encode(v any) ([]byte, error) { return json.Marshal(v) }
