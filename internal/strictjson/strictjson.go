// Package strictjson refuses JSON that two readers could take for different things. What a
// signature or a digest vouches for must not depend on who decodes it.
//
// Check and Walk are for data from strangers: they refuse bad UTF-8, duplicate keys in an object, deep nesting and
// data after the value. Unmarshal decodes what Check accepts. UnmarshalKnown is for files of this program, which may
// be large and are read only once.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays: decoders recurse, and recover() cannot catch an exhausted stack.
const maxDepth = 32

// Every format read here is an object.
var errBehind = errors.New("ambiguous JSON: data after the object")

// A Rule is what a format requires of a value beyond what Check requires.
type Rule interface {
	// Member returns the rule for the value of an object's member, or an error if no member may have that name.
	Member(name string) (Rule, error)
	// Element returns the rule for the values of an array.
	Element() Rule
	// Scalar returns an error if the value must not be this string, [json.Number], bool or nil.
	Scalar(v json.Token) error
}

// Check returns an error unless raw is exactly one JSON value in valid UTF-8, with no duplicate key in an object at
// any depth.
func Check(raw []byte) error { return Walk(raw, anything{}) }

// anything is the rule that every value satisfies.
type anything struct{}

func (a anything) Member(string) (Rule, error) { return a, nil }
func (a anything) Element() Rule               { return a }
func (anything) Scalar(json.Token) error       { return nil }

// Walk is [Check] for a value that must also satisfy r.
func Walk(raw []byte, r Rule) error {
	if !utf8.Valid(raw) {
		return errors.New("ambiguous JSON: not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := value(d, r, 0); err != nil {
		return err
	}
	return end(d)
}

// Unmarshal decodes raw into v if [Check] accepts it. It ignores members that v does not have.
func Unmarshal(raw []byte, v any) error {
	if err := Check(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

// UnmarshalKnown decodes raw into v, and refuses members that v does not have and data after the value. Unlike
// Unmarshal it does not look for duplicate keys.
func UnmarshalKnown(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Plain(err)
	}
	return end(d)
}

func end(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBehind
	}
	return nil
}

// value reads one value, including nested values; depth is the number of enclosing objects and arrays.
func value(d *json.Decoder, r Rule, depth int) error {
	t, err := token(d)
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return r.Scalar(t)
	}
	if depth >= maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	if open == '{' {
		err = members(d, r, depth+1)
	} else {
		err = elements(d, r.Element(), depth+1)
	}
	if err != nil {
		return err
	}
	_, err = token(d) // the closing bracket
	return err
}

func members(d *json.Decoder, r Rule, depth int) error {
	seen := make(map[string]struct{})
	for d.More() {
		t, err := token(d)
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("not JSON: object key expected")
		}
		if _, twice := seen[name]; twice {
			return fmt.Errorf("ambiguous JSON: key %.100q twice in one object", name)
		}
		seen[name] = struct{}{}
		rule, err := r.Member(name)
		if err != nil {
			return err
		}
		if err := value(d, rule, depth); err != nil {
			return err
		}
	}
	return nil
}

func elements(d *json.Decoder, r Rule, depth int) error {
	for d.More() {
		if err := value(d, r, depth); err != nil {
			return err
		}
	}
	return nil
}

func token(d *json.Decoder) (json.Token, error) {
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return t, nil
}

// ofLibrary removes what JSON and YAML libraries write before or around the actual error.
var ofLibrary = strings.NewReplacer("error converting YAML to JSON: ", "", "error unmarshaling JSON: ", "", "while decoding JSON: ", "", "yaml: unmarshal errors:\n  ", "", "yaml: ", "", "json: ", "")

// ofType matches how encoding/json says that a value's type does not fit a field.
var ofType = regexp.MustCompile(`cannot unmarshal (\w+).* into Go (?:value|struct field \w+\.?(\S*)) of type \S.*`)

// Plain says what is wrong with a JSON or YAML file without naming libraries and Go types.
func Plain(err error) error {
	text := ofLibrary.Replace(err.Error())
	if m := ofType.FindStringSubmatch(text); m != nil {
		what := map[string]string{"array": "a list", "object": "a map", "string": "a text", "number": "a number", "bool": "true or false"}[m[1]]
		text = what + " is not what it takes"
		if m[2] != "" {
			text = m[2] + ": " + text
		}
	}
	if text == "EOF" || text == "unexpected EOF" || text == "unexpected end of JSON input" {
		text = "it ends too early"
	}
	return errors.New(text)
}
