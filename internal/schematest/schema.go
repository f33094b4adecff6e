package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Limits are what a field may hold, by package.Type.json-name, where its type does not say
// it: one of some values, or nothing but one.
type Limits map[string][]any

// OneField is a limit by package.Type: a value of the type has one field, whichever.
var OneField = []any{"one field"}

// schema keeps the order in which its keys are written.
type schema []entry

type entry struct {
	key   string
	value any
}

// MarshalJSON writes an object with the keys in their order.
func (s schema) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range s {
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", e.key, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Of is the schema of what encoding/json writes of v. It allows fields that v does not have, as a
// later version may write some; tests hold what this one writes to [Strict].
func (s *Source) Of(id, title string, v any, limits Limits) ([]byte, error) {
	g := generator{source: s, limits: limits, defs: map[string]schema{}}
	root, err := g.of(reflect.TypeOf(v))
	if err != nil {
		return nil, err
	}
	var defs schema
	for _, name := range g.order {
		defs = append(defs, entry{name, g.defs[name]})
	}
	all := append(schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"$id", id}, {"title", title}}, root...)
	raw, err := json.MarshalIndent(append(all, entry{"$defs", defs}), "", "  ")
	return append(raw, '\n'), err
}

type generator struct {
	source *Source
	limits Limits
	defs   map[string]schema
	order  []string
}

func (g *generator) of(t reflect.Type) (schema, error) {
	name := t.String()
	switch {
	case t == reflect.TypeFor[time.Time]():
		return schema{{"type", "string"}, {"format", "date-time"}}, nil
	case t.Kind() == reflect.Pointer:
		return g.of(t.Elem())
	case t.Kind() == reflect.Struct:
		return g.ref(name, t)
	case t.Kind() == reflect.String && g.source.values[name] != nil:
		return schema{{"enum", g.source.Values(name)}}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return schema{{"type", "string"}}, nil
	case reflect.Bool:
		return schema{{"type", "boolean"}}, nil
	case reflect.Int, reflect.Int64:
		return schema{{"type", "integer"}}, nil
	case reflect.Float64:
		return schema{{"type", "number"}}, nil
	case reflect.Slice:
		items, err := g.of(t.Elem())
		return schema{{"type", "array"}, {"items", items}}, err
	case reflect.Map:
		return g.mapping(t)
	}
	return nil, fmt.Errorf("%s: no schema for that", t)
}

func (g *generator) mapping(t reflect.Type) (schema, error) {
	keys, err := g.of(t.Key())
	if err != nil {
		return nil, err
	}
	values, err := g.of(t.Elem())
	return schema{{"type", "object"}, {"propertyNames", keys}, {"additionalProperties", values}}, err
}

// ref makes the definition of a struct and refers to it.
func (g *generator) ref(name string, t reflect.Type) (schema, error) {
	short := name[strings.LastIndex(name, ".")+1:]
	to := schema{{"$ref", "#/$defs/" + short}}
	if _, known := g.defs[short]; known {
		return to, nil
	}
	g.defs[short] = nil // while its fields are made
	g.order = append(g.order, short)
	var err error
	g.defs[short], err = g.structure(name, t)
	return to, err
}

func (g *generator) structure(name string, t reflect.Type) (schema, error) {
	var properties schema
	required := []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" || !f.IsExported() || f.Anonymous {
			return nil, fmt.Errorf("%s.%s: it has no name in JSON", name, f.Name)
		}
		one, err := g.of(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f.Name, err)
		}
		if values := g.limits[name+"."+key]; values != nil {
			one = schema{{"enum", values}}
		}
		if doc := g.source.docs[name][f.Name]; doc != "" {
			one = append(schema{{"description", doc}}, one...)
		}
		properties = append(properties, entry{key, one})
		if !slices.Contains(strings.Split(options, ","), "omitempty") && options != "omitzero" {
			required = append(required, key)
		}
	}
	s := schema{{"type", "object"}, {"properties", properties}, {"required", required}}
	if g.limits[name] != nil {
		s = append(s, entry{"minProperties", 1}, entry{"maxProperties", 1})
	}
	return s, nil
}
