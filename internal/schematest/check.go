package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Same compares a schema with its file; with update it writes the file instead.
func Same(t testing.TB, path string, raw []byte, err error, update bool) {
	t.Helper()
	if err == nil && update {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(was, raw) {
		t.Errorf("%s is not the schema of the code: run go test -update, and look whether a reader of the old version can read the new one", filepath.Base(path))
	}
}

// Strict is a schema that allows no field which it does not name: this version writes none.
func Strict(rawSchema []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(rawSchema, &doc); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	defs, _ := doc["$defs"].(map[string]any)
	for _, def := range defs {
		if object, ok := def.(map[string]any); ok && object["properties"] != nil {
			object["additionalProperties"] = false
		}
	}
	return json.Marshal(doc)
}

// Validate checks a JSON value against a schema.
func Validate(rawSchema, raw []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(rawSchema))
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		return err
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}
