package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// undo runs the verb and returns how it ended. It needs neither the Notary server nor the key.
func (m *migration) undo(t testing.TB, args ...string) result {
	t.Helper()
	return m.run(t, "dct2notation", slices.Concat([]string{"undo", "--certificate", m.path("kms", "release.crt")}, m.registry.flags(), args)...)
}

// TestUndoneIsUndoneForNotationToo has the real notation command check what is left, of our
// signatures and of a stranger's.
func TestUndoneIsUndoneForNotationToo(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	for kind, start := range deletingKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, start(t), "undo")
			_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", pki.EC256), kmstest.Behaviour{})
			s.strangerSigns(t, s.v2)
			for range 2 { // signing after an undo is no different
				if got := s.runCounts(t, s.gun); got["signed"] != 2 {
					t.Errorf("run: got %v, want 2 signed", got)
				}
				s.accepted(t, s.v1, "v1", "targets/releases")
				s.accepted(t, s.v2, "v2", "targets")
				if r := s.undo(t, "--dry-run", s.gun); r.code != 0 || !strings.Contains(r.stdout, "would remove 2, ") {
					t.Errorf("dry run: got exit code %d, want 0 and 2 to remove: %s", r.code, r)
				}
				s.accepted(t, s.v1, "v1", "targets/releases")
				if r := s.undo(t, "--yes", s.gun); r.code != 0 || !strings.Contains(r.stdout, "removed 2, ") {
					t.Fatalf("undo: got exit code %d, want 0 and 2 removed: %s", r.code, r)
				}
				s.refused(t, s.v1)
				s.refused(t, s.v2)
				if ours, theirs := s.signatures(t, s.reference(s.v1)), s.signatures(t, s.reference(s.v2)); ours != 0 || theirs != 1 {
					t.Errorf("notation inspect: got %d signatures of v1 and %d of v2, want 0 and the stranger's", ours, theirs)
				}
				s.verify(t, 4, s.gun, map[string]class{"v1": {"dct-only", false}, "v2": {"untrusted", false}})
			}
		})
	}
}

// This is docker-registry's own default.
func TestUndoWhereDeletingIsDisabled(t *testing.T) {
	t.Parallel()
	s := newStory(t, startNotary(t, nil), startDockerRegistry(t, nil, "", ""), "undo")
	_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", pki.EC256), kmstest.Behaviour{})
	s.runCounts(t, s.gun)
	if r := s.undo(t, "--yes", s.gun); r.code != 3 || !strings.Contains(r.stdout, "hint: docker-registry deletes only where") {
		t.Errorf("undo: got exit code %d, want 3 and a hint: %s", r.code, r)
	}
	s.accepted(t, s.v1, "v1", "targets/releases")
	s.accepted(t, s.v2, "v2", "targets")
}

// Promise 4: a signature whose manifest was deleted, but whose entry is still in the list, may
// still exist. Its image is not signed again until the list is repaired.
func TestRecheckSignsNothingBesideAHalfDeletedSignature(t *testing.T) {
	t.Parallel()
	s := newStory(t, startNotary(t, nil), deletingKinds["docker-registry"](t), "halfdeleted")
	_, s.key = installKMS(t, s.home, issue(t, s.ca, "release", pki.EC256), kmstest.Behaviour{})
	s.runCounts(t, s.gun)
	ours := s.list(t, s.v2)
	s.strangerSigns(t, s.v2)
	before := s.list(t, s.v2)
	if len(ours) != 1 || len(before) != 2 {
		t.Fatalf("got listed %v, and then %v, want one and two", ours, before)
	}
	s.manifest(t, http.MethodDelete, ours[0].Digest.String(), http.StatusAccepted)
	s.exits(t, 3, "run", "--recheck", s.gun)
	if after := s.list(t, s.v2); len(after) != 2 || after[0].Digest != before[0].Digest || after[1].Digest != before[1].Digest {
		t.Errorf("got listed %v, want %v as before", after, before)
	}
	list := s.manifest(t, http.MethodGet, strings.Replace(s.v2.Digest.String(), ":", "-", 1), http.StatusOK)
	s.manifest(t, http.MethodDelete, digest.FromBytes(list).String(), http.StatusAccepted)
	s.exits(t, 0, "run", "--recheck", s.gun)
	if after := s.list(t, s.v2); len(after) != 1 || after[0].Digest == ours[0].Digest {
		t.Errorf("got listed %v, want a new one", after)
	}
	s.accepted(t, s.v2, "v2", "targets")
}

// list returns what the referrers tag of an image lists.
func (s *story) list(t *testing.T, image ocispec.Descriptor) []ocispec.Descriptor {
	t.Helper()
	var index ocispec.Index
	raw := s.manifest(t, http.MethodGet, strings.Replace(image.Digest.String(), ":", "-", 1), http.StatusOK)
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatalf("reading the list of signatures: got error %v, want none", err)
	}
	return index.Manifests
}

// manifest sends a request for a manifest of the story's repository.
func (s *story) manifest(t *testing.T, method, reference string, want int) []byte {
	t.Helper()
	host, repository, _ := strings.Cut(s.gun, "/")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+"/v2/"+repository+"/manifests/"+reference, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex)
	resp, err := s.registry.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s: got %s, error %v, want %d: %s", method, reference, resp.Status, err, want, body)
	}
	return body
}
