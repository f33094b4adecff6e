package notation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// kindCertificate is the kind of identity that names one signing certificate.
const kindCertificate = "certificate"

// Identity names whose signatures count as one key's. It is the one value by which plan, ledger, undo
// and policy decide that; a further kind of identity is added here and nowhere else. It comes from the
// configuration, or from a key that has just signed. What a ledger says of an identity is progress and
// adds no authority: it may spare work, and never makes a signature that was found count as ours, nor
// lets an envelope be pushed.
//
// The zero Identity matches no signature. Identities are comparable with ==, and their text is stable:
// it is stored in ledgers.
type Identity struct {
	kind string
	leaf string // SHA-256 of the signing certificate in DER, lower-case hex
}

// IdentityOf returns the identity of one signing certificate.
func IdentityOf(leaf *x509.Certificate) Identity {
	sum := sha256.Sum256(leaf.Raw)
	return Identity{kindCertificate, hex.EncodeToString(sum[:])}
}

// IdentityOfThumbprint returns the identity of the signing certificate with that thumbprint, as
// [ParseThumbprint] takes it.
func IdentityOfThumbprint(text string) (Identity, error) {
	leaf, _, err := ParseThumbprint(text)
	if err != nil {
		return Identity{}, err
	}
	return Identity{kindCertificate, leaf}, nil
}

// ParseThumbprint reads the SHA-256 of a certificate as people have it: 64 hex digits of either case,
// with sha256: before them or not, with colons between the bytes (as openssl prints them) or not. It
// returns the digits in lower case. meant reports whether the text is written as a thumbprint at all,
// and is not the name of a file.
func ParseThumbprint(text string) (sha256Hex string, meant bool, err error) {
	digits := strings.ToLower(text)
	digits, prefixed := strings.CutPrefix(digits, "sha256:")
	digits, sha1 := strings.CutPrefix(digits, "sha1:")
	bare := strings.ReplaceAll(digits, ":", "")
	raw, notHex := hex.DecodeString(bare)
	meant = prefixed || sha1 || strings.Trim(bare, "0123456789abcdef") == "" && len(bare) >= 32
	spelled := notHex == nil && (digits == bare || digits == strings.ReplaceAll(fmt.Sprintf("% x", raw), " ", ":"))
	switch {
	case spelled && len(raw) == sha256.Size && !sha1:
		return bare, true, nil
	case sha1, notHex == nil && len(raw) == 20:
		return "", meant, fmt.Errorf("thumbprint %.100q is a SHA-1, and a certificate is named by its SHA-256\nhint: %s", text, showSHA256)
	}
	return "", meant, fmt.Errorf("thumbprint %.100q: want the SHA-256 of a certificate, in %d hex digits\nhint: %s", text, 2*sha256.Size, showSHA256)
}

const showSHA256 = "openssl x509 -in FILE -noout -fingerprint -sha256 shows it"

// ParseIdentity reads what String has written.
func ParseIdentity(text string) (Identity, error) {
	kind, rest, _ := strings.Cut(text, ":")
	if kind != kindCertificate {
		return Identity{}, fmt.Errorf("identity %.100q: unknown kind\nhint: a newer version may know it", text)
	}
	leaf, ok := strings.CutPrefix(rest, "sha256:")
	if raw, err := hex.DecodeString(leaf); !ok || err != nil || len(raw) != sha256.Size || leaf != strings.ToLower(leaf) {
		return Identity{}, fmt.Errorf("identity %.100q: want certificate:sha256:<hex>", text)
	}
	return Identity{kindCertificate, leaf}, nil
}

// String returns the identity's kind and parts, such as certificate:sha256:<hex>. It is empty
// for the zero Identity.
func (i Identity) String() string {
	if i.IsZero() {
		return ""
	}
	return i.kind + ":sha256:" + i.leaf
}

// Leaf returns the SHA-256 of the signing certificate in hex, of an identity that names one.
func (i Identity) Leaf() string { return i.leaf }

// IsZero reports whether the identity names nobody.
func (i Identity) IsZero() bool { return i == Identity{} }

// Equal reports whether both name the same. The zero Identity equals none, itself included.
func (i Identity) Equal(other Identity) bool { return !i.IsZero() && i == other }

// Matches returns an error unless a signature with this certificate chain, leaf first, was made
// by the identity. The chain must be that of a signature which verifies with its leaf.
func (i Identity) Matches(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("a signature without a certificate")
	}
	if got := IdentityOf(chain[0]); !i.Equal(got) {
		return fmt.Errorf("signed with certificate %s, want %s", got.leaf, i.leaf)
	}
	return nil
}
