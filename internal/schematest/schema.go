package schematest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// Limits are what a field may hold, by package.Type.json-name, where its type does not say
// it: one of some values, or nothing but one.
type Limits map[string][]any

// OneField is a limit by package.Type: a value of the type has one field, whichever.
var OneField = []any{"one field"}

// Of is the schema of what encoding/json writes of v. It allows fields that v does not have, as a
// later version may write some; tests hold what this one writes to [Strict].
func (s *Source) Of(id, title string, v any, limits Limits) ([]byte, error) {
	used := map[string]reflect.Type{}
	r := jsonschema.Reflector{
		Anonymous: true, AllowAdditionalProperties: true, Mapper: s.mapped,
		LookupComment: func(t reflect.Type, field string) string { return s.docs[t.String()][field] },
		Namer:         func(t reflect.Type) string { used[t.String()] = t; return t.Name() },
	}
	root := r.Reflect(v)
	root.ID, root.Title = jsonschema.ID(id), title
	for name, values := range limits {
		parts := strings.Split(name, ".")
		of := used[strings.Join(parts[:2], ".")]
		if of == nil {
			continue // of another schema
		}
		def := root.Definitions[of.Name()]
		if len(parts) == 2 {
			one := uint64(1)
			def.MinProperties, def.MaxProperties = &one, &one
			continue
		}
		field, ok := def.Properties.Get(parts[2])
		if !ok {
			return nil, fmt.Errorf("%s: there is no such field", name)
		}
		field.Type, field.Enum = "", values
	}
	raw, err := json.MarshalIndent(root, "", "  ")
	return append(raw, '\n'), err
}

// mapped is the schema of types of which the library does not see all: the constants of a string
// type, also as the keys of a map.
func (s *Source) mapped(t reflect.Type) *jsonschema.Schema {
	if t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Int {
		if keys := s.mapped(t.Key()); keys != nil {
			return &jsonschema.Schema{Type: "object", PropertyNames: keys, AdditionalProperties: &jsonschema.Schema{Type: "integer"}}
		}
	}
	if t.Kind() != reflect.String || s.values[t.String()] == nil {
		return nil
	}
	enum := &jsonschema.Schema{}
	for _, v := range s.Values(t.String()) {
		enum.Enum = append(enum.Enum, v)
	}
	return enum
}
