// Package config parses a request's key id and plugin-config into the plugin's settings. Unknown names are errors: a
// misspelt `token` must not quietly widen the search. No message shows a value that could be a PIN.
package config

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/pin"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// ModuleEnv names the PKCS#11 library if plugin-config does not.
const ModuleEnv = "NOTATION_PKCS11_MODULE"

var names = []string{"module", "token", "label", "id", "ca_certs", "pin_file", "pin_env"}

// Config is a checked request. Nothing it names has been opened yet.
type Config struct {
	Module  string // absolute path of the PKCS#11 library
	Key     keyref.Ref
	CACerts string // PEM file, or empty
	PIN     pin.Source
}

// Read checks the key id and plugin-config of a request. Its errors are
// VALIDATION_ERROR faults.
func Read(keyID string, options map[string]string, getenv func(string) string) (Config, error) {
	if err := refuseUnknown(options); err != nil {
		return Config{}, err
	}
	module := options["module"]
	if module == "" {
		module = getenv(ModuleEnv)
	}
	if module == "" {
		return Config{}, fault.Invalid("add --plugin-config module=/path/to/library.so or set "+ModuleEnv,
			"no PKCS#11 module is configured")
	}
	if !filepath.IsAbs(module) {
		// A bare name would be searched along the loader's path, which others may set.
		return Config{}, fault.Invalid("give the library's full path", "module %q is not an absolute path", module)
	}
	key, err := readKey(keyID, options)
	if err != nil {
		return Config{}, err
	}
	if options["pin_file"] != "" && options["pin_env"] != "" {
		return Config{}, fault.Invalid("keep one of them", "plugin-config has both pin_file and pin_env")
	}
	return Config{
		Module: module, Key: key, CACerts: options["ca_certs"],
		PIN: pin.Source{File: options["pin_file"], Env: options["pin_env"]},
	}, nil
}

func refuseUnknown(options map[string]string) error {
	var unknown []string
	for name := range options {
		if !slices.Contains(names, name) {
			unknown = append(unknown, name)
		}
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	hint := "it knows " + strings.Join(names, ", ")
	if slices.ContainsFunc(unknown, func(n string) bool { return strings.EqualFold(n, "pin") }) {
		hint = "plugin-config is stored in plain text: put the PIN into " + pin.DefaultEnv + " or a pin_file"
	}
	return fault.Invalid(hint, "plugin-config has unknown names %q", unknown)
}

// readKey combines --id with label, id and token of plugin-config. If label or id is given there, a plain --id is
// only a name for the key; a URI must agree with them.
func readKey(keyID string, options map[string]string) (keyref.Ref, error) {
	ref, err := keyref.Parse(keyID)
	if err != nil {
		return keyref.Ref{}, fault.Invalid(uriHint(err), "reading the key id: %w", err)
	}
	more := keyref.Ref{Token: options["token"], Label: options["label"]}
	if text := options["id"]; text != "" {
		more.ID, err = hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(more.ID) == 0 {
			return keyref.Ref{}, fault.Invalid("write the CKA_ID in hexadecimal, like 0a1b2c", "plugin-config id %q is not hexadecimal", text)
		}
	}
	if !keyref.IsURI(keyID) && (more.Label != "" || more.ID != nil) {
		ref = keyref.Ref{}
	}
	ref, err = ref.Merge(more)
	if err != nil {
		return keyref.Ref{}, fault.Invalid("say it in --id or in --plugin-config", "joining the key id with plugin-config: %w", err)
	}
	return ref, nil
}

func uriHint(err error) string {
	if errors.Is(err, keyref.ErrPIN) {
		return "remove pin-value or pin-source and put the PIN into " + pin.DefaultEnv + " or a pin_file"
	}
	return "use the key's label, or a URI like pkcs11:token=prod;object=release or pkcs11:token=prod;id=%01%02"
}
