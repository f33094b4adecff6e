package notation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"github.com/notaryproject/notation-core-go/signature"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// The kinds of identity.
const (
	kindCertificate = "certificate" // one signing certificate
	kindSubject     = "subject"     // any certificate that a root issued for a subject
	kindProfile     = "profile"     // a signing profile of a service that signs with its own certificates
)

// Identity says whose signatures count as one key's. It is the only value by which plan, ledger, undo and policy
// decide that; a new kind of identity is added here and nowhere else. It comes from the configuration, or from a key
// that has just signed. An identity in a ledger records progress and has no authority: it may save work, but never
// makes a found signature count as ours, nor lets an envelope be pushed.
//
// The zero Identity matches no signature. Identities are comparable with ==. Their text is stable, since ledgers
// store it.
type Identity struct {
	kind    string
	leaf    string // SHA-256 of the signing certificate in DER, lower-case hex
	root    string // for subject and profile: SHA-256 of the root certificate
	subject string // all attributes of the signing certificate's subject, as subjectOf writes them
	ekus    string // extended key usages that the certificate must have besides code signing; sorted OIDs, joined with +
	profile string // ARN of the signing profile
}

// IdentityOf returns the identity of one signing certificate.
func IdentityOf(leaf *x509.Certificate) Identity {
	sum := sha256.Sum256(leaf.Raw)
	return Identity{kind: kindCertificate, leaf: hex.EncodeToString(sum[:])}
}

// IdentityOfThumbprint returns the identity of the signing certificate with that thumbprint, in a form that
// [ParseThumbprint] accepts.
func IdentityOfThumbprint(text string) (Identity, error) {
	leaf, _, err := ParseThumbprint(text)
	if err != nil {
		return Identity{}, err
	}
	return Identity{kind: kindCertificate, leaf: leaf}, nil
}

// ParseThumbprint parses the SHA-256 of a certificate: 64 hex digits of either case, optionally with sha256: in
// front, and with or without colons between the bytes (as openssl prints them). It returns the digits in lower case.
// meant reports whether the text is written as a thumbprint rather than as a file name.
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

// SubjectIdentity returns the identity of all certificates that a root has issued with exactly this subject and at
// least these extended key usages (OIDs). subject is written as notation writes it: C=US, ST=WA, O=Example,
// CN=release, in any order. The root must be a root certificate.
func SubjectIdentity(root *x509.Certificate, subject string, ekus []string) (Identity, error) {
	if err := checkRoot(root); err != nil {
		return Identity{}, err
	}
	i := Identity{kind: kindSubject, root: Thumbprint(root)}
	var err error
	if i.subject, err = parseSubject(subject); err != nil {
		return Identity{}, err
	}
	all := slices.Clone(ekus)
	for _, oid := range all {
		if _, err := x509.ParseOID(oid); err != nil {
			return Identity{}, fmt.Errorf("extended key usage %.100q: it is an OID, such as 1.3.6.1.4.1.311.97.1.0", oid)
		}
	}
	slices.Sort(all)
	i.ekus = strings.Join(slices.Compact(all), "+")
	return i, nil
}

// ProfileIdentity returns the identity of a signing profile, by its ARN with or without a version. The root issues
// the service's certificates, and must be a root certificate.
func ProfileIdentity(root *x509.Certificate, arn string) (Identity, error) {
	if err := checkRoot(root); err != nil {
		return Identity{}, err
	}
	if !profileARN.MatchString(arn) {
		return Identity{}, fmt.Errorf("signing profile %.200q: it is an ARN, such as arn:aws:signer:eu-west-1:111122223333:/signing-profiles/release", arn)
	}
	return Identity{kind: kindProfile, root: Thumbprint(root), profile: arn}, nil
}

var profileARN = regexp.MustCompile(`^arn:[a-z-]+:signer:[a-z0-9-]+:\d{12}:/signing-profiles/\w{2,64}(/\w+)?$`)

func checkRoot(root *x509.Certificate) error {
	if !bytes.Equal(root.RawSubject, root.RawIssuer) || root.CheckSignatureFrom(root) != nil {
		return fmt.Errorf("certificate %s is no root: it was issued by %s", safetext.Safe(root.Subject.String(), 200), safetext.Safe(root.Issuer.String(), 200))
	}
	return nil
}

// ParseIdentity parses what String has written.
func ParseIdentity(text string) (Identity, error) {
	kind, rest, _ := strings.Cut(text, ":")
	sum, parts, _ := strings.Cut(strings.TrimPrefix(rest, "sha256:"), ":")
	raw, err := hex.DecodeString(sum)
	if !strings.HasPrefix(rest, "sha256:") || err != nil || len(raw) != sha256.Size || sum != strings.ToLower(sum) {
		return Identity{}, fmt.Errorf("identity %.100q: want KIND:sha256:<hex>", text)
	}
	i := Identity{kind: kind, root: sum}
	switch kind {
	case kindCertificate:
		i.leaf, i.root = sum, ""
	case kindSubject:
		i.ekus, i.subject, _ = strings.Cut(parts, ":")
		i.subject, err = url.PathUnescape(i.subject)
	case kindProfile:
		i.profile, err = url.PathUnescape(parts)
	default:
		return Identity{}, fmt.Errorf("identity %.100q: unknown kind\nhint: a newer version may know it", text)
	}
	if err != nil || i.String() != text {
		return Identity{}, fmt.Errorf("identity %.200q: it is not as it was written", text)
	}
	return i, nil
}

// String returns the identity's kind and parts, such as certificate:sha256:<hex>. It contains neither a comma nor a
// space. It is empty for the zero Identity.
func (i Identity) String() string {
	switch i.kind {
	case kindCertificate:
		return i.kind + ":sha256:" + i.leaf
	case kindSubject:
		return i.kind + ":sha256:" + i.root + ":" + i.ekus + ":" + url.PathEscape(i.subject)
	case kindProfile:
		return i.kind + ":sha256:" + i.root + ":" + url.PathEscape(i.profile)
	}
	return ""
}

// Title says whose signatures these are, for people.
func (i Identity) Title() string {
	switch i.kind {
	case kindCertificate:
		return "certificate " + i.leaf
	case kindSubject:
		title := "subject " + safetext.Safe(i.subject, 512)
		if i.ekus != "" {
			title += " with extended key usage " + strings.ReplaceAll(i.ekus, "+", ", ")
		}
		return title + ", under root " + i.root
	case kindProfile:
		return "signing profile " + safetext.Safe(i.profile, 300) + ", under root " + i.root
	}
	return "nobody"
}

// Leaf returns the SHA-256 of the signing certificate in hex, or the empty string if the identity does not name one.
func (i Identity) Leaf() string { return i.leaf }

// Renews reports whether the identity outlives its certificates: a new certificate does not change it.
func (i Identity) Renews() bool { return i.kind == kindSubject || i.kind == kindProfile }

// NamedBySubject reports whether trust policies name the signer by the subject of its certificates.
func (i Identity) NamedBySubject() bool { return i.kind != kindProfile }

// Trusted returns the identity as it appears in trust policies' trustedIdentities, if it outlives its certificates:
// the subject, or the ARN of the signing profile. Otherwise it is empty.
func (i Identity) Trusted() string {
	if i.kind == kindSubject {
		return "x509.subject: " + i.subject
	}
	return i.profile
}

// Usages returns the extended key usages that the identity's certificates must have besides code signing, as OIDs. No
// trust policy can require them.
func (i Identity) Usages() []string {
	if i.ekus == "" {
		return nil
	}
	return strings.Split(i.ekus, "+")
}

// IsZero reports whether the identity names nobody.
func (i Identity) IsZero() bool { return i == Identity{} }

// Equal reports whether both are the same. The zero Identity equals nothing, not even itself.
func (i Identity) Equal(other Identity) bool { return !i.IsZero() && i == other }

// MayBe reports whether a signature could be by this identity, given the certificate thumbprints in its
// manifest, leaf first. It is not proof: anyone can write a manifest.
func (i Identity) MayBe(thumbprints []string) bool {
	switch {
	case len(thumbprints) == 0:
		return false
	case i.Renews():
		return slices.Contains(thumbprints, i.root)
	}
	return i.leaf == thumbprints[0]
}

// Matches returns an error unless a signature's certificates have the identity's name. Its envelope is intact, so
// each certificate of its chain has issued the previous one. If the identity renews its certificates, the name is not
// enough: see [Signer.Recognise].
func (i Identity) Matches(c Contents) error {
	if len(c.Chain) == 0 {
		return errors.New("a signature without a certificate")
	}
	leaf := c.Chain[0]
	switch i.kind {
	case kindCertificate:
		if got := Thumbprint(leaf); got != i.leaf {
			return fmt.Errorf("signed with certificate %s, want %s", got, i.leaf)
		}
		return nil
	case kindSubject, kindProfile:
	default:
		return errors.New("the identity names nobody")
	}
	if root := c.Chain[len(c.Chain)-1]; Thumbprint(root) != i.root {
		return fmt.Errorf("signed under root %s, want %s", Thumbprint(root), i.root)
	}
	if i.kind == kindProfile {
		switch {
		case c.Scheme != signature.SigningSchemeX509SigningAuthority:
			return fmt.Errorf("signed by scheme %s, and a signing profile signs by %s", safetext.Safe(string(c.Scheme), 64), signature.SigningSchemeX509SigningAuthority)
		case c.Profile != i.profile && !strings.HasPrefix(c.Profile, i.profile+"/"):
			return fmt.Errorf("signed by profile %s, want %s", safetext.Safe(cmp.Or(c.Profile, "none"), 300), i.profile)
		}
		return nil
	}
	if c.Scheme != signature.SigningSchemeX509 {
		return fmt.Errorf("signed by scheme %s, want %s", safetext.Safe(string(c.Scheme), 64), signature.SigningSchemeX509)
	}
	if got := subjectOf(leaf); got != i.subject {
		return fmt.Errorf("signed as %s, want %s", safetext.Safe(got, 300), safetext.Safe(i.subject, 300))
	}
	for oid := range strings.SplitSeq(i.ekus, "+") {
		if oid != "" && !slices.Contains(usagesOf(leaf), oid) {
			return fmt.Errorf("signed with a certificate without the extended key usage %s", oid)
		}
	}
	return nil
}

// attributeTypes are the names of subject attributes; others are written as OIDs.
var attributeTypes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"2.5.4.17": "POSTALCODE", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "EMAILADDRESS",
}

// subjectOf returns all attributes of a certificate's subject, sorted: the order is not part of a name.
func subjectOf(c *x509.Certificate) string {
	var all []string
	for _, a := range c.Subject.Names {
		oid := a.Type.String()
		all = append(all, cmp.Or(attributeTypes[oid], oid)+"="+ldap.EscapeDN(fmt.Sprint(a.Value)))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// parseSubject parses a subject as written in a flag or the configuration.
func parseSubject(text string) (string, error) {
	dn, err := ldap.ParseDN(text)
	if err != nil {
		return "", fmt.Errorf("subject %.200q: %s\nhint: write it as C=US, ST=WA, O=Example, CN=release; openssl x509 -in FILE -noout -subject -nameopt RFC2253 shows it", text, safetext.Safe(err.Error(), 100))
	}
	var all []string
	for _, rdn := range dn.RDNs {
		for _, a := range rdn.Attributes {
			kind := strings.ToUpper(strings.TrimSpace(a.Type))
			if kind == "S" {
				kind = "ST"
			}
			if name, ok := attributeTypes[kind]; ok {
				kind = name
			}
			_, err := x509.ParseOID(kind)
			if !slices.Contains(slices.Collect(maps.Values(attributeTypes)), kind) && err != nil {
				return "", fmt.Errorf("subject %.200q: unknown attribute %.50q\nhint: write it as an OID, such as 2.5.4.12", text, a.Type)
			}
			all = append(all, kind+"="+ldap.EscapeDN(strings.TrimSpace(a.Value)))
		}
	}
	if len(all) == 0 {
		return "", errors.New("the subject has no attribute")
	}
	slices.Sort(all)
	return strings.Join(all, ", "), nil
}

// usagesOf returns a certificate's extended key usages beyond those of every code signing certificate.
func usagesOf(c *x509.Certificate) (oids []string) {
	for _, oid := range c.UnknownExtKeyUsage {
		oids = append(oids, oid.String())
	}
	return oids
}
