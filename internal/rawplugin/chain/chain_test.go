package chain

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
	"github.com/dct2notation/dct2notation/internal/rawplugin/pkitest"
)

type certs = []*x509.Certificate

func names(chain certs) []string {
	out := make([]string, len(chain))
	for i, c := range chain {
		out[i] = c.Subject.CommonName
	}
	return out
}

// invalid fails the test unless err is a VALIDATION_ERROR that says want.
func invalid(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", want)
	}
	if got := fault.Protocol(err); got.ErrCode != plugin.ErrorCodeValidation || !strings.Contains(got.Message, want) {
		t.Errorf("got %s %q, want VALIDATION_ERROR with %q", got.ErrCode, got.Message, want)
	}
}

func TestBuildOrdersAnyPoolFromLeafToRoot(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	inter := root.Intermediate(t, "intermediate")
	leaf := inter.Leaf(t, pkitest.NewKey(t).Public())
	stranger := pkitest.Root(t, "stranger")
	namesake := pkitest.Root(t, "intermediate") // the issuer's name, another key
	want := certs{leaf, inter.Cert, root.Cert}
	for name, pool := range map[string]certs{
		"in order":           {inter.Cert, root.Cert},
		"reversed":           {root.Cert, inter.Cert},
		"leaf and strangers": {stranger.Cert, namesake.Cert, root.Cert, leaf, inter.Cert, inter.Cert},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Build(leaf, pool, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
				t.Errorf("got chain %v, want %v", names(got), names(want))
			}
		})
	}
}

func TestBuildTakesASelfSignedLeafAlone(t *testing.T) {
	t.Parallel()
	leaf := pkitest.SelfSigned(t, pkitest.NewKey(t))
	got, err := Build(leaf, certs{pkitest.Root(t, "root").Cert}, time.Now())
	if err != nil || len(got) != 1 || !got[0].Equal(leaf) {
		t.Errorf("got chain %v, error %v, want the leaf alone", names(got), err)
	}
}

func TestBuildNamesTheMissingIssuer(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "the-root")
	inter := root.Intermediate(t, "the-intermediate")
	leaf := inter.Leaf(t, pkitest.NewKey(t).Public())
	for want, pool := range map[string]certs{"the-intermediate": {root.Cert}, "the-root": {inter.Cert}} {
		_, err := Build(leaf, pool, time.Now())
		if !errors.Is(err, ErrIncomplete) {
			t.Errorf("got %v, want ErrIncomplete", err)
		}
		invalid(t, err, want)
	}
}

func TestBuildRefusesWhatNotationWouldRefuse(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	for name, spoil := range map[string]func(*x509.Certificate){
		"expired":          func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"not yet valid":    func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"server":           func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"key encipherment": func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment },
		"authority":        func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaf := root.Leaf(t, pkitest.NewKey(t).Public(), spoil)
			_, err := Build(leaf, certs{root.Cert}, time.Now())
			invalid(t, err, "checking the certificate chain")
		})
	}
}

func TestBuildEndsOnCrossSignedCircles(t *testing.T) {
	t.Parallel()
	// Two authorities certify each other many times over and reach no root:
	// more ways than could ever be walked.
	root := pkitest.Root(t, "root")
	a, b := root.Intermediate(t, "a"), root.Intermediate(t, "b")
	var pool certs
	for range 8 {
		pool = append(pool, a.Cross(t, b), b.Cross(t, a))
	}
	leaf := a.Leaf(t, pkitest.NewKey(t).Public())
	began := time.Now()
	if _, err := Build(leaf, pool, time.Now()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("got %v, want ErrIncomplete", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("got a search of %v, want at most 20s", took)
	}
	got, err := Build(leaf, append(certs{a.Cert, root.Cert}, pool...), time.Now())
	if err != nil || len(got) != 3 {
		t.Errorf("with the root: got chain %v, error %v, want 3 certificates", names(got), err)
	}
}

func TestLeaf(t *testing.T) {
	t.Parallel()
	key := pkitest.NewKey(t)
	root := pkitest.Root(t, "root")
	first, renewed := root.Leaf(t, key.Public()), root.Leaf(t, key.Public())
	other := root.Leaf(t, pkitest.NewKey(t).Public())
	belongs := func(c *x509.Certificate) bool { return c.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) }
	for name, c := range map[string]struct {
		token, file certs
		want        *x509.Certificate
		err         string
	}{
		"on the token":             {token: certs{first}, want: first},
		"in the file":              {file: certs{root.Cert, first}, want: first},
		"in both":                  {token: certs{first}, file: certs{first, root.Cert}, want: first},
		"not the first on token":   {token: certs{root.Cert, first}, want: first},
		"renewed, named by file":   {token: certs{first, renewed}, file: certs{renewed}, want: renewed},
		"renewed, ambiguous":       {token: certs{first, renewed}, file: certs{root.Cert}, err: "2 certificates"},
		"of another key, on token": {token: certs{other}, file: certs{root.Cert}, err: "is not the certificate of this key"},
		"of another key, in file":  {file: certs{other, root.Cert}, err: "none of the 2"},
		"nowhere":                  {err: "holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Leaf(c.token, c.file, belongs)
			if c.err != "" {
				invalid(t, err, c.err)
				return
			}
			if err != nil || !got.Equal(c.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	leaf := root.Leaf(t, pkitest.NewKey(t).Public())
	got, err := ReadFile(pkitest.WritePEM(t, leaf, root.Cert))
	if err != nil || len(got) != 2 || !got[0].Equal(leaf) {
		t.Errorf("got %v, error %v, want 2 certificates, the leaf first", names(got), err)
	}
	if got, err := ReadFile(""); got != nil || err != nil {
		t.Errorf("no file: got %v, error %v, want nothing and none", got, err)
	}
	write := func(text []byte) string {
		path := filepath.Join(t.TempDir(), "f.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for want, path := range map[string]string{
		"no such file":    filepath.Join(t.TempDir(), "none"),
		"no certificate":  write([]byte("hello")),
		"PRIVATE KEY":     write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})),
		"the certificate": write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})),
	} {
		_, err := ReadFile(path)
		invalid(t, err, want)
	}
}
