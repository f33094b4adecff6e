package dct

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dct2notation/dct2notation/internal/strictjson"
)

// The strict gate. Notary checks signatures over the canonical form of one decoding and takes its values from
// another, and the two read ambiguous JSON differently. So the gate refuses anything that two decoders could read
// differently, before any other code sees it: duplicate keys at any depth, case variants of known fields, text after
// the value, bad UTF-8, numbers that are not plain integers. The nesting limit comes first because the library's
// decoder would exhaust its stack, which no recover() catches.

// knownFields are the fields of TUF metadata that the notary library decodes into structs. It matches them
// case-insensitively, so only the exact spelling may pass.
var knownFields = []string{
	"signed", "signatures", "keyid", "method", "sig", "_type", "version", "expires", "keys",
	"roles", "consistent_snapshot", "keytype", "keyval", "public", "private", "keyids",
	"threshold", "targets", "delegations", "name", "paths", "meta", "hashes", "length", "custom",
}

// A shape is the rule for a value, by what the keys of its objects are.
type shape int

const (
	fields  shape = iota // keys are field names, known ones in exact case
	entries              // keys are data (tags, roles, key ids): V1 and v1 may both be real
	free                 // custom data of the signer
)

// gate returns an error unless raw is one JSON object without ambiguity.
func gate(raw []byte) error {
	if err := strictjson.Walk(raw, fields); err != nil {
		return err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return errors.New("not a JSON object")
	}
	return nil
}

func (s shape) Member(key string) (strictjson.Rule, error) {
	if err := gateString(key); err != nil {
		return nil, err
	}
	if s == fields && !slices.Contains(knownFields, key) {
		for _, f := range knownFields {
			// EqualFold, not ToLower: the decoder also takes U+017F for s and U+212A for k.
			if strings.EqualFold(key, f) {
				return nil, fmt.Errorf("ambiguous JSON: field %.100q differs from %q in case only", key, f)
			}
		}
	}
	return childShape(s, key), nil
}

func (s shape) Element() strictjson.Rule {
	if s == entries {
		return fields // the members of a list of roles are structs
	}
	return s
}

func (shape) Scalar(v json.Token) error {
	switch v := v.(type) {
	case string:
		return gateString(v)
	case json.Number:
		return gateNumber(string(v))
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

func gateString(s string) error {
	if strings.ContainsRune(s, utf8.RuneError) {
		return errors.New("ambiguous JSON: a string that is not valid Unicode")
	}
	return nil
}

// gateNumber accepts integers that a float64 holds exactly, in their one spelling.
func gateNumber(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n >= 1<<53 || n <= -(1<<53) || strconv.FormatInt(n, 10) != s {
		return fmt.Errorf("ambiguous JSON: number %.40s is no integer below 2^53", s)
	}
	return nil
}
