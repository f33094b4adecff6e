package keyref

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func slot(n uint) *uint { return &n }

func TestParse(t *testing.T) {
	t.Parallel()
	cases := []struct {
		in   string
		want Ref
	}{
		{"release key", Ref{Label: "release key"}},
		{"a;b=%zz", Ref{Label: "a;b=%zz"}}, // a label, taken as it is
		{"pkcs11:token=prod;object=release", Ref{Token: "prod", Label: "release"}},
		{"PKCS11:object=release", Ref{Label: "release"}},
		{"pkcs11:id=%01%02", Ref{ID: []byte{1, 2}}},
		{"pkcs11:id=%ff%00;slot-id=7", Ref{ID: []byte{0xff, 0}, Slot: slot(7)}},
		{"pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=0a1b;token=my%3btoken;object=k;type=private",
			Ref{Model: "SoftHSM v2", Manufacturer: "SoftHSM project", Serial: "0a1b", Token: "my;token", Label: "k"}},
	}
	for _, c := range cases {
		t.Run(c.in, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("Parse: got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   "empty",
		"pkcs11:":                            "name=value",
		"pkcs11:object":                      "name=value",
		"pkcs11:object=":                     "name=value",
		"pkcs11:object=a;":                   "name=value",
		"pkcs11:token=a":                     "names no key",
		"pkcs11:object=a;object=a":           "twice",
		"pkcs11:object=%zz":                  "%-escape",
		"pkcs11:object=%ff":                  "not UTF-8",
		"pkcs11:object=a;slot-id=-1":         "not a number",
		"pkcs11:object=a;type=cert":          "not private",
		"pkcs11:object=a;library-version=1":  "not supported",
		"pkcs11:object=a?module-path=/x.so":  "query",
		"pkcs11:object=a;x-vendor=something": "not supported",
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(in)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%q): got %v, want an error with %q", in, err, want)
			}
		})
	}
}

func TestPINInURIIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"pkcs11:object=a?pin-value=s3cr3t",
		"pkcs11:object=a?module-path=/x.so&pin-value=s3cr3t",
		"pkcs11:object=a?pin-source=file:s3cr3t",
		"pkcs11:object=a?PIN-VALUE=s3cr3t",
		"pkcs11:object=a?pin%2dvalue=s3cr3t",
		"pkcs11:object=a;pin-value=s3cr3t",
		"pkcs11:pin-source=s3cr3t",
	} {
		t.Run(in, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(in)
			if !errors.Is(err, ErrPIN) {
				t.Errorf("Parse: got error %v, want ErrPIN", err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got error %v, want one without the PIN", err)
			}
		})
	}
}

func TestMergeRefusesContradictions(t *testing.T) {
	t.Parallel()
	base := Ref{Token: "t", Label: "l", ID: []byte{1}, Slot: slot(1)}
	same, err := base.Merge(Ref{Token: "t", ID: []byte{1}, Slot: slot(1), Serial: "s"})
	if err != nil || same.Serial != "s" || same.Label != "l" {
		t.Errorf("Merge of agreeing refs: got %+v, error %v, want serial s, label l", same, err)
	}
	for _, other := range []Ref{{Token: "u"}, {Label: "m"}, {ID: []byte{2}}, {Slot: slot(2)}} {
		if got, err := base.Merge(other); err == nil {
			t.Errorf("Merge with %+v: got %+v, want an error", other, got)
		}
	}
}

func FuzzParseNeverSelectsNothing(f *testing.F) {
	f.Add("pkcs11:token=a;object=b;id=%01")
	f.Add("label")
	f.Add("pkcs11:;;?&")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := Parse(in)
		if err == nil && r.Label == "" && len(r.ID) == 0 {
			t.Errorf("Parse(%q): got %+v, want an error or a ref that names a key", in, r)
		}
	})
}
