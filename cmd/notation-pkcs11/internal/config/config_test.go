package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestKeySelection(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, id string
		options  map[string]string
		want     keyref.Ref
	}{
		{"a label", "release", nil, keyref.Ref{Label: "release"}},
		{"a label on a token", "release", map[string]string{"token": "prod"}, keyref.Ref{Token: "prod", Label: "release"}},
		{"id instead of label", "any name", map[string]string{"id": "0a:1B"}, keyref.Ref{ID: []byte{0x0a, 0x1b}}},
		{"label instead of the name", "any name", map[string]string{"label": "l"}, keyref.Ref{Label: "l"}},
		{"a URI, completed", "pkcs11:object=l", map[string]string{"id": "01", "token": "t"},
			keyref.Ref{Token: "t", Label: "l", ID: []byte{1}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Read(c.id, c.options, env(map[string]string{ModuleEnv: "/lib/p11.so"}))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Key, c.want) {
				t.Errorf("got key %+v, want %+v", got.Key, c.want)
			}
		})
	}
}

func TestModuleOfPluginConfigWins(t *testing.T) {
	t.Parallel()
	getenv := env(map[string]string{ModuleEnv: "/env.so"})
	got, err := Read("k", map[string]string{"module": "/config.so"}, getenv)
	if err != nil || got.Module != "/config.so" {
		t.Errorf("got module %q, error %v, want /config.so", got.Module, err)
	}
	got, err = Read("k", nil, getenv)
	if err != nil || got.Module != "/env.so" {
		t.Errorf("got module %q, error %v, want /env.so", got.Module, err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, id string
		options  map[string]string
		want     string
	}{
		{"no module", "k", map[string]string{}, "no PKCS#11 module"},
		{"relative module", "k", map[string]string{"module": "p11.so"}, "absolute"},
		{"misspelt name", "k", map[string]string{"module": "/m", "tokn": "t"}, `"tokn"`},
		{"a PIN", "k", map[string]string{"module": "/m", "pin": "s3cr3t"}, "plain text"},
		{"a PIN in the URI", "pkcs11:object=k?pin-value=s3cr3t", map[string]string{"module": "/m"}, "pin-value"},
		{"id not hexadecimal", "k", map[string]string{"module": "/m", "id": "xyz"}, "hexadecimal"},
		{"two tokens", "pkcs11:token=a;object=k", map[string]string{"module": "/m", "token": "b"}, "twice"},
		{"two PIN sources", "k", map[string]string{"module": "/m", "pin_env": "A", "pin_file": "/b"}, "both"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Read(c.id, c.options, env(nil))
			if err == nil {
				t.Fatal("got no error, want one")
			}
			got := fault.Protocol(err)
			if got.ErrCode != plugin.ErrorCodeValidation || !strings.Contains(got.Message, c.want) {
				t.Errorf("got %s %q, want VALIDATION_ERROR with %q", got.ErrCode, got.Message, c.want)
			}
			if strings.Contains(got.Message, "s3cr3t") {
				t.Errorf("got message %q, want it without the PIN", got.Message)
			}
		})
	}
}
