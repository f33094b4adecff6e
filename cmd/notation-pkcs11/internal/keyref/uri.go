package keyref

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const scheme = "pkcs11:"

// ErrPIN is returned for a URI that contains a PIN or says where to find one. Key ids are stored in plain text, and
// shown by `notation key list` and by ps.
var ErrPIN = errors.New("a PIN has no place in a key id")

// IsURI reports whether a key id is parsed as a URI rather than a label.
func IsURI(keyID string) bool {
	return len(keyID) >= len(scheme) && strings.EqualFold(keyID[:len(scheme)], scheme)
}

// parseURI parses token, serial, manufacturer, model, slot-id, object, id and type=private. It refuses everything
// else: skipping a condition could select another key than the one described.
func parseURI(uri string) (Ref, error) {
	path, query, hasQuery := strings.Cut(uri[len(scheme):], "?")
	if hasQuery {
		return Ref{}, refuseQuery(query)
	}
	var r Ref
	seen := map[string]bool{}
	for _, attribute := range strings.Split(path, ";") {
		name, raw, ok := strings.Cut(attribute, "=")
		switch {
		case isPIN(name):
			return Ref{}, ErrPIN
		case !ok || name == "" || raw == "":
			return Ref{}, errors.New("a part of the PKCS#11 URI is not of the form name=value")
		case seen[name]:
			// SPEC (RFC 7512, 2.3): an attribute must not be given twice.
			return Ref{}, fmt.Errorf("attribute %q is given twice in the PKCS#11 URI", name)
		}
		seen[name] = true
		value, err := url.PathUnescape(raw)
		if err != nil {
			return Ref{}, fmt.Errorf("attribute %q of the PKCS#11 URI has a broken %%-escape", name)
		}
		if err := r.set(name, value); err != nil {
			return Ref{}, err
		}
	}
	if r.Label == "" && r.ID == nil {
		return Ref{}, errors.New("the PKCS#11 URI names no key: it needs object= or id=")
	}
	return r, nil
}

func (r *Ref) set(name, value string) error {
	if name == "id" { // the only attribute that is bytes, not text
		r.ID = []byte(value)
		return nil
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("attribute %q of the PKCS#11 URI is not UTF-8", name)
	}
	switch name {
	case "token":
		r.Token = value
	case "serial":
		r.Serial = value
	case "manufacturer":
		r.Manufacturer = value
	case "model":
		r.Model = value
	case "object":
		r.Label = value
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, strconv.IntSize)
		if err != nil {
			return errors.New("slot-id of the PKCS#11 URI is not a number")
		}
		slot := uint(n)
		r.Slot = &slot
	case "type":
		if value != "private" {
			return errors.New("type of the PKCS#11 URI is not private: only private keys sign")
		}
	default:
		return fmt.Errorf("attribute %q of the PKCS#11 URI is not supported", name)
	}
	return nil
}

// refuseQuery returns why: none of the query attributes that RFC 7512 defines (PIN and module) is accepted in a key
// id.
func refuseQuery(query string) error {
	for _, attribute := range strings.Split(query, "&") {
		if name, _, _ := strings.Cut(attribute, "="); isPIN(name) {
			return ErrPIN
		}
	}
	return errors.New("the PKCS#11 URI has a query part (after the ?), which is not supported")
}

// isPIN also recognises the names with %-escapes and in other cases: whoever wrote them meant a PIN, and no message
// may show what follows.
func isPIN(name string) bool {
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	return strings.HasPrefix(strings.ToLower(name), "pin")
}
