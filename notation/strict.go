package notation

import (
	"encoding/json"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// strictJSON decodes one JSON object and refuses one with a key twice or with data
// after it: two readers could take different values from it.
func strictJSON(raw []byte, v any) error {
	if err := strictjson.Check(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}
