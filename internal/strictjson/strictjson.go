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
	"sync"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays: decoders recurse, and recover() cannot catch an exhausted stack.
const maxDepth = 32

var (
	errDeep = fmt.Errorf("nested deeper than %d levels", maxDepth)
	// Every format read here is an object.
	errBehind = errors.New("ambiguous JSON: data after the object")
)

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
	if !json.Valid(raw) {
		return invalid(raw)
	}
	return (&walker{raw}).value(r, 0)
}

// invalid returns why the bytes are not one JSON value.
func invalid(raw []byte) error {
	var first json.RawMessage
	switch err := json.NewDecoder(bytes.NewReader(raw)).Decode(&first); {
	case err == nil:
		return errBehind
	case strings.HasSuffix(err.Error(), "exceeded max depth"): // 10,000 levels
		return errDeep
	default:
		return fmt.Errorf("not JSON: %w", err)
	}
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
	k := knowns.Get().(*known)
	k.raw.Reset(raw)
	if err := k.Decode(v); err != nil {
		return Plain(err)
	}
	if err := end(k.Decoder); err != nil {
		return err
	}
	k.raw.Reset(nil)
	knowns.Put(k) // after an error, it is not used again
	return nil
}

// known is a decoder with its buffer, which would be most of the cost of a small record.
type known struct {
	*json.Decoder
	raw bytes.Reader
}

var knowns = sync.Pool{New: func() any {
	k := &known{}
	k.Decoder = json.NewDecoder(&k.raw)
	k.DisallowUnknownFields()
	return k
}}

func end(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBehind
	}
	return nil
}

// A walker is what is left of one valid JSON value. The tokens of [json.Decoder] would cost four times as much.
type walker struct{ rest []byte }

// next skips white space and returns the byte after it.
func (w *walker) next() byte {
	for strings.IndexByte(" \t\r\n", w.rest[0]) >= 0 {
		w.rest = w.rest[1:]
	}
	return w.rest[0]
}

// take returns the next n bytes.
func (w *walker) take(n int) (taken []byte) {
	taken, w.rest = w.rest[:n], w.rest[n:]
	return taken
}

// value walks through one value, including nested values; depth is the number of enclosing objects and arrays.
func (w *walker) value(r Rule, depth int) error {
	first := w.next()
	if depth >= maxDepth && (first == '{' || first == '[') {
		return errDeep
	}
	switch first {
	case '{':
		return w.members(r, depth+1)
	case '[':
		return w.elements(r.Element(), depth+1)
	case '"':
		return r.Scalar(w.text())
	}
	end := bytes.IndexAny(w.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(w.rest)
	}
	switch token := string(w.take(end)); token {
	case "null":
		return r.Scalar(nil)
	case "true", "false":
		return r.Scalar(token == "true")
	default:
		return r.Scalar(json.Number(token))
	}
}

func (w *walker) members(r Rule, depth int) error {
	seen := make(map[string]struct{})
	for w.take(1); w.next() != '}'; {
		if w.rest[0] == ',' {
			w.take(1)
			w.next()
		}
		name := w.text()
		if _, twice := seen[name]; twice {
			return fmt.Errorf("ambiguous JSON: key %.100q twice in one object", name)
		}
		seen[name] = struct{}{}
		rule, err := r.Member(name)
		if err != nil {
			return err
		}
		w.next()
		w.take(1) // the colon
		if err := w.value(rule, depth); err != nil {
			return err
		}
	}
	w.take(1)
	return nil
}

func (w *walker) elements(r Rule, depth int) error {
	for w.take(1); w.next() != ']'; {
		if w.rest[0] == ',' {
			w.take(1)
		}
		if err := w.value(r, depth); err != nil {
			return err
		}
	}
	w.take(1)
	return nil
}

// text returns the string that comes next, decoded.
func (w *walker) text() (text string) {
	end, escaped := 1, false
	for ; w.rest[end] != '"'; end++ {
		if w.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	raw := w.take(end + 1)
	if !escaped {
		return string(raw[1:end])
	}
	_ = json.Unmarshal(raw, &text) // it is valid
	return text
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
