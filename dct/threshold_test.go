package dct

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/notary/tuf/data"
)

// Two certificates of one key count as one of the two signers that the previous root requires.
// Both ways of checking a root count so: with expired certificates allowed, and without.
func TestOneKeyIsNotTwoSignersOfTheRootBefore(t *testing.T) {
	t.Parallel()
	for _, expired := range []bool{false, true} {
		m := newMint(t)
		a := m.cert()
		again, b, c := m.certFor(app, a.private), m.cert(), m.cert()
		m.assign("root", 2, a, again, b)
		m.publish("root")
		known := Known{Root: slices.Clone(m.files["root"])}
		m.assign("root", 1, c)
		reader := m.reader()
		reader.Pins, reader.AllowExpired = Pins{}, []string{RootCert}
		if expired { // the newest root's certificate alone
			m.assign("root", 1, m.certUntil(time.Now().Add(-time.Hour), app, m.key().private))
		}
		own := m.keys["root"][0]
		for name, by := range map[string]struct {
			signers []mintKey
			refused bool
		}{
			"two keys":                  {[]mintKey{own, a, b}, false},
			"one key, two certificates": {[]mintKey{own, a, again}, true},
		} {
			c := m.clone(t)
			c.keys["root"] = by.signers
			c.publish("root")
			reader := *reader
			reader.Source = c.reader().Source
			_, err := read(t, &reader, app, known)
			if by.refused != errors.Is(err, ErrRefused) || !by.refused && err != nil || by.refused && !strings.Contains(err.Error(), "more than one id") {
				t.Errorf("expired %v, %s: got %v, want a refusal: %v", expired, name, err, by.refused)
			}
		}
	}
}

// A signature by an unpinned root key does not help the pinned keys reach the threshold: only keys
// that the pins allow are counted.
func TestUnpinnedSignaturesOfTheRootDoNotCount(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	a, other, stranger := m.cert(), m.cert(), m.cert()
	again := m.certFor(app, a.private)
	for name, c := range map[string]struct {
		keys    []mintKey
		refused bool
	}{
		"two pinned keys": {[]mintKey{a, other, stranger}, false},
		"one pinned key twice, and an unpinned one": {[]mintKey{a, again, stranger}, true},
	} {
		m := m.clone(t)
		m.assign("root", 2, c.keys...)
		m.publish("root")
		reader := m.reader()
		reader.Pins = Pins{Certs: map[string][]string{app: {c.keys[0].public.ID(), c.keys[1].public.ID()}}}
		_, err := read(t, reader, app, Known{})
		if c.refused != errors.Is(err, ErrRefused) || !c.refused && err != nil {
			t.Errorf("%s: got %v, want a refusal: %v", name, err, c.refused)
		}
	}
}

// However metadata encodes a key, it is one key.
func TestSameKeyHoweverWritten(t *testing.T) {
	t.Parallel()
	m := newMint(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	other := pem.EncodeToMemory(&pem.Block{Type: "ANY", Bytes: der})
	bare := m.key()
	cert := m.certFor(app, bare.private).public
	// The library verifies with the first block, so what follows changes the id and not the key.
	stranger := m.cert().public.Public()
	for _, one := range [][]data.PublicKey{
		{data.NewRSAPublicKey(der), data.NewRSAPublicKey(text), data.NewRSAPublicKey(other)},
		{bare.public, cert, data.NewECDSAx509PublicKey(slices.Concat(cert.Public(), stranger))},
	} {
		ids := map[string]bool{}
		for _, key := range one {
			ids[key.ID()] = true
			if sameKey(key) != sameKey(one[0]) {
				t.Errorf("%s key %s: got another key, want the same as %s", key.Algorithm(), key.ID(), one[0].ID())
			}
		}
		if len(ids) != len(one) {
			t.Errorf("got ids %v, want %d", ids, len(one))
		}
	}
	if sameKey(bare.public) == sameKey(m.key().public) || sameKey(data.NewECDSAPublicKey(nil)) == sameKey(data.NewRSAPublicKey(nil)) {
		t.Error("two keys count as one")
	}
}
