package certfile

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

func certificate(t *testing.T, name string) []byte {
	t.Helper()
	id, err := pki.SelfSigned(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id.Certificate().Raw
}

// Every form in which people have certificates is read whole, or refused: no certificate is
// skipped.
func TestCertificatesAreReadOrRefused(t *testing.T) {
	t.Parallel()
	a, b := certificate(t, "a"), certificate(t, "b")
	block := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	both := block(a) + block(b)
	second := fmt.Sprintf("line %d:", 1+strings.Count(block(a), "\n"))
	for name, c := range map[string]struct {
		content string
		want    string // names of the certificates
		says    string // in the error
	}{
		"PEM":                      {both, "a b", ""},
		"one":                      {block(b), "b", ""},
		"DER":                      {string(a), "a", ""},
		"DER of several":           {string(b) + string(a), "b a", ""},
		"byte-order mark":          {"\xef\xbb\xbf" + both, "a b", ""},
		"CRLF":                     {strings.ReplaceAll(both, "\n", "\r\n"), "a b", ""},
		"bag attributes":           {"Bag Attributes\n    friendlyName: release\nsubject=CN = a\n" + block(a) + "\nBag Attributes: <No Attributes>\n" + block(b), "a b", ""},
		"no line end at the end":   {strings.TrimSpace(both), "a b", ""},
		"text behind":              {both + "\nend\n", "a b", ""},
		"glued":                    {strings.TrimSpace(block(a)) + block(b), "", "line 1:"},
		"text before on the line":  {block(a) + "x" + block(b), "", second},
		"cut off":                  {block(a) + block(b)[:200], "", second},
		"cut off at first":         {block(a)[:200] + "\n" + block(b), "", "line 1:"},
		"damaged":                  {strings.Replace(both, "M", "*", 1), "", "line 1:"},
		"first line indented":      {" " + both, "", "line 1:"},
		"a private key":            {both + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", "it holds a PRIVATE KEY"},
		"a key that is cut off":    {both + "-----BEGIN PRIVATE KEY-----\nAAAA\n", "", "cannot be read"},
		"openssl's trusted form":   {strings.ReplaceAll(block(a), "CERTIFICATE", "TRUSTED CERTIFICATE"), "", "it holds a TRUSTED CERTIFICATE"},
		"no certificate":           {block([]byte("nothing")), "", "reading the certificate"},
		"empty":                    {"", "", "no certificate"},
		"text":                     {"hello", "", "no certificate"},
		"DER with something after": {string(a) + "x", "", "no certificate"},
		"UTF-16":                   {"\xff\xfe-\x00-\x00", "", "UTF-16"},
		"too large":                {both + strings.Repeat("\n", maxSize), "", "larger than 4 MiB"},
		"as large as may be":       {both + strings.Repeat("\n", maxSize-len(both)), "a b", ""},
	} {
		file := filepath.Join(t.TempDir(), "certs")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(file)
		var names []string
		for _, one := range got {
			names = append(names, one.Subject.CommonName)
		}
		if strings.Join(names, " ") != c.want || (err == nil) != (c.says == "") {
			t.Errorf("%s: got %q, %v, want %q", name, names, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: got error %q, want the file and %q in it", name, err, c.says)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "nowhere")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a file that is not there: got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("0\x03\x02\x01\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		certs, err := Parse(raw)
		if (err == nil) != (len(certs) > 0) {
			t.Fatalf("got %d certificates and %v", len(certs), err)
		}
		if blocks := bytes.Count(raw, begin); err == nil && blocks > 0 && blocks != len(certs) {
			t.Fatalf("got %d certificates of %d blocks", len(certs), blocks)
		}
	})
}
