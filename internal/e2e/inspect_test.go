package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestInspectEqualsTheRealTools inspects images with dct2notation, docker trust and notation. It
// compares their output line by line: tags, signers and keys; signatures, certificates, times and
// metadata.
func TestInspectEqualsTheRealTools(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, servertest.NewTLS(t))
	for kind, startRegistry := range registryKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, startRegistry(t), "app")
			s.trustServer(t, notary)
			s.addKey(t, "release", issue(t, s.ca, "release", pki.EC256))
			s.key = []string{"--key", "release", "--user-metadata", "team=blue", "--expiry", "48h"}
			s.strangerSigns(t, s.v2, s.strangers)
			s.runCounts(t, s.gun)
			r := newReader(t, notary, s.gun)
			for tag, c := range map[string]struct {
				image ocispec.Descriptor
				code  int
				class string
			}{
				"v1": {s.v1, 0, "agree"}, "v2": {s.v2, 0, "agree"},
				"strangers": {s.strangers, 0, "unsigned"}, "unsigned": {s.unsigned, 0, "unsigned"},
			} {
				ours := s.inspect(t, c.code, s.gun+":"+tag)
				if ours.Result.Class != c.class || ours.TagNow != c.image.Digest.String() {
					t.Errorf("%s: got %s, %s, want %s, %s", tag, ours.Result.Class, ours.TagNow, c.class, c.image.Digest)
				}
				if hasDocker {
					compare(t, tag+": docker trust inspect and we", ours.asDocker(tag), r.trustInspect(tag))
				}
				compare(t, tag+": notation inspect and we", ours.asNotation(c.image), s.notationInspect(t, c.image))
			}
		})
	}
}

// trustServer puts the authority of a Notary server where docker looks for it.
func (h *home) trustServer(t testing.TB, n *notaryServer) {
	t.Helper()
	ca, err := os.ReadFile(n.tls.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	servertest.WriteFile(t, h.path("docker", "tls", strings.TrimPrefix(n.url, "https://"), "ca.crt"), ca)
}

// inspection is the JSON of inspect -o json.
type inspection struct {
	Result struct{ Class string }
	TagNow string `json:"tag_now"`
	DCT    struct {
		Digest  string
		Signers []string
		Roles   []struct {
			Name string
			Keys []struct {
				ID       string
				PublicID string `json:"public_id"`
			}
		}
	}
	Images []struct {
		Digest     string
		MediaType  string `json:"media_type"`
		Signatures []struct {
			Digest       string
			MediaType    string `json:"media_type"`
			Says         string
			Scheme       string
			Signed       time.Time
			Expires      time.Time
			Metadata     map[string]string
			Certificates []struct {
				Subject, Issuer, SHA256 string
				Ends                    time.Time
			}
		}
	}
}

func (m *migration) inspect(t testing.TB, code int, image string) (i inspection) {
	t.Helper()
	decode(t, m.exits(t, code, "inspect", "-o", "json", image), &i)
	return i
}

// asDocker returns what docker trust inspect shows for a tag.
func (i inspection) asDocker(tag string) (lines []string) {
	names := func(roles []string) string {
		var all []string
		for _, role := range roles {
			all = append(all, strings.TrimPrefix(role, "targets/"))
		}
		if len(all) == 0 {
			return "Repo Admin"
		}
		return strings.Join(all, ",")
	}
	if i.DCT.Digest != "" {
		lines = append(lines, fmt.Sprintf("tag %s %s by %s", tag, strings.TrimPrefix(i.DCT.Digest, "sha256:"), names(i.DCT.Signers)))
	}
	for _, role := range i.DCT.Roles {
		var ids []string
		for _, k := range role.Keys {
			if k.PublicID != "" && role.Name != "root" {
				k.ID = k.PublicID // docker shows the id of the root's certificate, and the key ids of signers
			}
			ids = append(ids, k.ID)
		}
		name, delegated := strings.CutPrefix(role.Name, "targets/")
		switch {
		case name == "releases":
		case delegated:
			lines = append(lines, "signer "+name+" "+strings.Join(ids, ","))
		case name == "root", name == "targets":
			lines = append(lines, "admin "+name+" "+strings.Join(ids, ","))
		}
	}
	slices.Sort(lines)
	return lines
}

func (r *reader) trustInspect(tag string) (lines []string) {
	r.t.Helper()
	said := r.docker("trust", "inspect", r.gun+":"+tag)
	type named struct {
		Name string
		Keys []struct{ ID string }
	}
	var shown []struct {
		SignedTags []struct {
			SignedTag, Digest string
			Signers           []string
		}
		Signers, AdministrativeKeys []named
	}
	if err := json.Unmarshal([]byte(said.stdout), &shown); err != nil || len(shown) != 1 {
		r.t.Fatalf("reading what docker says: %v: %s", err, said)
	}
	ids := func(n named) string {
		var all []string
		for _, k := range n.Keys {
			all = append(all, k.ID)
		}
		slices.Sort(all)
		return strings.Join(all, ",")
	}
	for _, one := range shown[0].SignedTags {
		slices.Sort(one.Signers)
		lines = append(lines, fmt.Sprintf("tag %s %s by %s", one.SignedTag, one.Digest, strings.Join(one.Signers, ",")))
	}
	for _, one := range shown[0].Signers {
		lines = append(lines, "signer "+one.Name+" "+ids(one))
	}
	for _, one := range shown[0].AdministrativeKeys {
		lines = append(lines, "admin "+map[string]string{"Root": "root", "Repository": "targets"}[one.Name]+" "+ids(one))
	}
	slices.Sort(lines)
	return lines
}

// asNotation returns what notation inspect shows for an image.
func (i inspection) asNotation(image ocispec.Descriptor) (lines []string) {
	for _, one := range i.Images {
		if one.Digest != image.Digest.String() {
			continue
		}
		for _, s := range one.Signatures {
			lines = append(lines, fmt.Sprintf("%s %s %s signed %s expires %s", s.Digest, s.MediaType, s.Scheme, s.Signed.UTC().Format(time.RFC3339), date(s.Expires)))
			for name, value := range s.Metadata {
				lines = append(lines, s.Digest+" "+name+"="+value)
			}
			for _, c := range s.Certificates {
				lines = append(lines, fmt.Sprintf("%s certificate %s of %s by %s until %s", s.Digest, c.SHA256, c.Subject, c.Issuer, date(c.Ends)))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (m *migration) notationInspect(t testing.TB, image ocispec.Descriptor) (lines []string) {
	t.Helper()
	var said struct {
		Signatures []struct {
			MediaType, Digest string
			SignedAttributes  struct {
				SigningScheme string `json:"signingScheme"`
				SigningTime   string `json:"signingTime"`
				Expiry        string `json:"expiry"`
			} `json:"signedAttributes"`
			Metadata     map[string]string `json:"userDefinedAttributes"`
			Certificates []struct {
				SHA256Fingerprint, IssuedTo, IssuedBy, Expiry string
			} `json:"certificates"`
		}
	}
	line := slices.Concat([]string{"inspect", "-o", "json"}, m.registry.notationFlags(), []string{m.registry.host + "/app@" + image.Digest.String()})
	decode(t, m.notationHome().must(t, "notation", line...), &said)
	for _, s := range said.Signatures {
		lines = append(lines, fmt.Sprintf("%s %s %s signed %s expires %s", s.Digest, s.MediaType, s.SignedAttributes.SigningScheme, s.SignedAttributes.SigningTime, s.SignedAttributes.Expiry))
		for name, value := range s.Metadata {
			lines = append(lines, s.Digest+" "+name+"="+value)
		}
		for _, c := range s.Certificates {
			lines = append(lines, fmt.Sprintf("%s certificate %s of %s by %s until %s", s.Digest, c.SHA256Fingerprint, c.IssuedTo, c.IssuedBy, c.Expiry))
		}
	}
	slices.Sort(lines)
	return lines
}
