package dct

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The strict gate. Notary checks signatures over the canonical form of one decoding and
// takes its values from another, and the two read ambiguous JSON differently. So whatever
// two decoders could read in two ways is refused here, before any other code sees it:
// duplicate keys at any depth, case variants of known fields, text after the value, bad
// UTF-8, numbers that are no plain integers. The nesting limit comes first because the
// library's decoder would exhaust its stack, which no recover() catches.

const maxDepth = 32

// knownFields are the fields of TUF metadata that the notary library decodes into
// structs. It matches them without regard to case, so only the exact spelling may pass.
var knownFields = []string{
	"signed", "signatures", "keyid", "method", "sig", "_type", "version", "expires", "keys",
	"roles", "consistent_snapshot", "keytype", "keyval", "public", "private", "keyids",
	"threshold", "targets", "delegations", "name", "paths", "meta", "hashes", "length", "custom",
}

// A shape tells how the keys of an object are meant.
type shape int

const (
	fields  shape = iota // keys are field names, known ones in exact case
	entries              // keys are data (tags, roles, key ids): V1 and v1 may both be real
	free                 // custom data of the signer
)

// gate returns an error unless raw is one JSON object without ambiguity.
func gate(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("ambiguous JSON: not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	if err := gateObject(d, fields, 1); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("ambiguous JSON: data after the object")
	}
	return nil
}

func gateObject(d *json.Decoder, s shape, depth int) error {
	seen := make(map[string]struct{})
	for {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		if t == json.Delim('}') {
			return nil
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("not JSON: object key expected")
		}
		if err := gateKey(key, s, seen); err != nil {
			return err
		}
		if err := gateValue(d, childShape(s, key), depth); err != nil {
			return err
		}
	}
}

func gateKey(key string, s shape, seen map[string]struct{}) error {
	if err := gateString(key); err != nil {
		return err
	}
	if _, twice := seen[key]; twice {
		return fmt.Errorf("ambiguous JSON: key %.100q twice in one object", key)
	}
	seen[key] = struct{}{}
	if s != fields {
		return nil
	}
	for _, f := range knownFields {
		// EqualFold, not ToLower: the decoder also takes U+017F for s and U+212A for k.
		if key != f && strings.EqualFold(key, f) {
			return fmt.Errorf("ambiguous JSON: field %.100q differs from %q in case only", key, f)
		}
	}
	return nil
}

func childShape(parent shape, key string) shape {
	switch {
	case parent == free:
		return free
	case parent == entries:
		return fields
	}
	switch key {
	case "targets", "meta", "hashes", "keys", "roles":
		return entries
	case "custom":
		return free
	}
	return fields
}

func gateValue(d *json.Decoder, s shape, depth int) error {
	t, err := d.Token()
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	switch v := t.(type) {
	case json.Delim:
		if depth >= maxDepth {
			return fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
		if v == '{' {
			return gateObject(d, s, depth+1)
		}
		return gateArray(d, s, depth+1)
	case string:
		return gateString(v)
	case json.Number:
		return gateNumber(string(v))
	}
	return nil
}

func gateArray(d *json.Decoder, s shape, depth int) error {
	if s == entries {
		s = fields // the members of a list of roles are structs
	}
	for d.More() {
		if err := gateValue(d, s, depth); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

func gateString(s string) error {
	if strings.ContainsRune(s, utf8.RuneError) {
		return errors.New("ambiguous JSON: a string that is not valid Unicode")
	}
	return nil
}

// gateNumber takes integers that a float64 holds exactly, in their one spelling.
func gateNumber(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n >= 1<<53 || n <= -(1<<53) || strconv.FormatInt(n, 10) != s {
		return fmt.Errorf("ambiguous JSON: number %.40s is no integer below 2^53", s)
	}
	return nil
}
