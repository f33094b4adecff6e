//go:build cgo && unix

package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

func TestReturnValuesHaveProtocolCodes(t *testing.T) {
	t.Parallel()
	for rv, want := range map[uint]plugin.ErrorCode{
		pkcs11.CKR_PIN_INCORRECT:              plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_PIN_LOCKED:                 plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_PIN_LEN_RANGE:              plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_PIN_EXPIRED:                plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_USER_NOT_LOGGED_IN:         plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_USER_PIN_NOT_INITIALIZED:   plugin.ErrorCodeAccessDenied,
		pkcs11.CKR_SESSION_COUNT:              plugin.ErrorCodeThrottled,
		pkcs11.CKR_DEVICE_MEMORY:              plugin.ErrorCodeThrottled,
		pkcs11.CKR_HOST_MEMORY:                plugin.ErrorCodeThrottled,
		pkcs11.CKR_TOKEN_NOT_PRESENT:          plugin.ErrorCodeValidation,
		pkcs11.CKR_SLOT_ID_INVALID:            plugin.ErrorCodeValidation,
		pkcs11.CKR_MECHANISM_INVALID:          plugin.ErrorCodeValidation,
		pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: plugin.ErrorCodeValidation,
		pkcs11.CKR_DEVICE_REMOVED:             plugin.ErrorCodeGeneric,
		pkcs11.CKR_DEVICE_ERROR:               plugin.ErrorCodeGeneric,
		pkcs11.CKR_GENERAL_ERROR:              plugin.ErrorCodeGeneric,
		pkcs11.CKR_VENDOR_DEFINED + 17:        plugin.ErrorCodeGeneric,
	} {
		got := fault.Protocol(explain(pkcs11.Error(rv)))
		if got.ErrCode != want || !strings.Contains(got.Message, "\nhint: ") {
			t.Errorf("%v: got %s %q, want %s with a hint", pkcs11.Error(rv), got.ErrCode, got.Message, want)
		}
	}
}

func named(slot uint, label, serial string) tokenIn {
	pad := func(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }
	return tokenIn{slot, pkcs11.TokenInfo{Label: pad(label, 32), SerialNumber: pad(serial, 16)}}
}

func TestPickNeverChoosesBetweenTokens(t *testing.T) {
	t.Parallel()
	all := []tokenIn{named(0, "prod", "1"), named(1, "prod", "2"), named(2, "test", "3")}
	third := uint(2)
	for name, c := range map[string]struct {
		all  []tokenIn
		ref  keyref.Ref
		want uint
		err  string
	}{
		"by label":        {all, keyref.Ref{Token: "test"}, 2, ""},
		"by serial":       {all, keyref.Ref{Token: "prod", Serial: "2"}, 1, ""},
		"by slot":         {all, keyref.Ref{Slot: &third}, 2, ""},
		"the only one":    {all[2:], keyref.Ref{}, 2, ""},
		"two of a label":  {all, keyref.Ref{Token: "prod"}, 0, "2 tokens fit"},
		"none said":       {all, keyref.Ref{}, 0, "3 tokens fit"},
		"part of a label": {all, keyref.Ref{Token: "pro"}, 0, `no token with label "pro"`},
		"no token":        {nil, keyref.Ref{}, 0, "no token"},
	} {
		got, err := pick(c.all, c.ref)
		if c.err == "" && (err != nil || got.slot != c.want) {
			t.Errorf("%s: got slot %d, error %v, want slot %d", name, got.slot, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.err)
		}
	}
}

func TestLastTryIsLeftToAPerson(t *testing.T) {
	t.Parallel()
	for flags, allowed := range map[uint]bool{
		0:                                 true,
		pkcs11.CKF_USER_PIN_COUNT_LOW:     true,
		pkcs11.CKF_USER_PIN_FINAL_TRY:     false,
		pkcs11.CKF_USER_PIN_LOCKED:        false,
		pkcs11.CKF_TOKEN_INITIALIZED | 64: true,
	} {
		err := mayTry(flags)
		if (err == nil) != allowed {
			t.Errorf("flags %#x: got error %v, want allowed %v", flags, err, allowed)
		}
		if err != nil && fault.Protocol(err).ErrCode != plugin.ErrorCodeAccessDenied {
			t.Errorf("flags %#x: got error %v, want ACCESS_DENIED", flags, err)
		}
	}
}

func TestECPointWithAndWithoutWrapping(t *testing.T) {
	t.Parallel()
	for _, c := range curves {
		key, err := ecdsa.GenerateKey(c.curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := asn1.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range [][]byte{plain, wrapped} {
			if got, err := publicEC(c.curve, value); err != nil || !got.Equal(&key.PublicKey) {
				t.Errorf("%s: got %v, error %v, want the key's point", c.curve.Params().Name, got, err)
			}
		}
		if got, err := publicEC(c.curve, bytes.Repeat([]byte{4}, len(plain))); err == nil {
			t.Errorf("%s, a point off the curve: got %v, want an error", c.curve.Params().Name, got)
		}
	}
}

func TestCurveIsOneOfNotations(t *testing.T) {
	t.Parallel()
	p256, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if got, err := curveOf(p256); err != nil || got != elliptic.P256() {
		t.Errorf("got %v, error %v, want P-256", got, err)
	}
	secp256k1, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 132, 0, 10})
	for _, params := range [][]byte{nil, secp256k1, append(p256, 0), []byte("\x30\x00")} {
		if got, err := curveOf(params); !errors.Is(err, algorithm.ErrUnsupported) {
			t.Errorf("%x: got %v, error %v, want %v", params, got, err, algorithm.ErrUnsupported)
		}
	}
}

func TestModuleThatIsNoneIsAValidationError(t *testing.T) {
	t.Parallel()
	write := func(mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "p11.so")
		if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, path := range map[string]string{
		"no such file":    filepath.Join(t.TempDir(), "none.so"),
		"not a regular":   t.TempDir(),
		"every user may":  write(0o666),
		"cannot be loade": write(0o600),
	} {
		_, err := load(path)
		if err == nil {
			t.Fatalf("%s: got it loaded, want an error", path)
		}
		if got := fault.Protocol(err); got.ErrCode != plugin.ErrorCodeValidation || !strings.Contains(got.Message, want) {
			t.Errorf("got %s %q, want VALIDATION_ERROR with %q", got.ErrCode, got.Message, want)
		}
	}
}
