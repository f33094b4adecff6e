package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

func deleting(o *Options) { o.Delete = true }

// bothKinds runs a test against a registry with the referrers API and one without.
func bothKinds(t *testing.T, o registrytest.Options, test func(t *testing.T, reg *registrytest.Registry)) {
	for _, o.Referrers = range []bool{true, false} {
		t.Run(fmt.Sprintf("referrers API %v", o.Referrers), func(t *testing.T) {
			t.Parallel()
			test(t, start(t, o))
		})
	}
}

func pushed(t *testing.T, r *Repository, subject ocispec.Descriptor, by string) digest.Digest {
	t.Helper()
	s := sign(t, subject, by)
	if err := s.push(t.Context(), r, subject); err != nil {
		t.Fatal(err)
	}
	return s.desc.Digest
}

func stored(t *testing.T, reg *registrytest.Registry, d digest.Digest) bool {
	t.Helper()
	_, err := reg.Manifest("app", d.String())
	return err == nil
}

func TestRemovedSignatureIsGoneAndTheOthersStay(t *testing.T) {
	t.Parallel()
	bothKinds(t, registrytest.Options{Token: true, Users: map[string]string{"deploy": "secret"}}, func(t *testing.T, reg *registrytest.Registry) {
		r := open(t, reg.Host()+"/app", 0, as("deploy"), deleting)
		subject, other := image(t, reg, "1"), image(t, reg, "2")
		ours, theirs, elsewhere := pushed(t, r, subject, "us"), pushed(t, r, subject, "them"), pushed(t, r, other, "us")
		got, err := r.StoredSignature(t.Context(), subject.Digest, ours).Result()
		if err != nil || got.MediaType != jws || !strings.Contains(string(got.Envelope), "us") {
			t.Fatalf("got %+v, %v, want the stored one of us", got, err)
		}
		for range 2 { // the second time it is already gone
			if err := r.RemoveSignature(t.Context(), subject.Digest, ours); err != nil {
				t.Fatal(err)
			}
			if _, err := r.StoredSignature(t.Context(), subject.Digest, ours).Result(); !lookup.IsAbsent(err) {
				t.Errorf("afterwards: got %v, want that it is absent", err)
			}
			if got := listed(t, reg, subject); len(got) != 1 || got[theirs.String()] != 1 {
				t.Errorf("listed %v, want %s", got, theirs)
			}
		}
		if n := len(slices.DeleteFunc(reg.Log(), func(line string) bool { return !strings.Contains(line, "/token") })); n != 1 {
			t.Errorf("got %d tokens asked for, want one that is good for all", n)
		}
		for _, d := range []digest.Digest{subject.Digest, other.Digest, theirs, elsewhere} {
			if !stored(t, reg, d) {
				t.Errorf("%s: got it gone too, want it there", d)
			}
		}
		if err := r.RemoveSignature(t.Context(), subject.Digest, theirs); err != nil {
			t.Fatal(err)
		}
		if got := listed(t, reg, subject); len(got) != 0 {
			t.Errorf("the last one: got %v listed, want none", got)
		}
		if err := r.RemoveSignature(t.Context(), other.Digest, elsewhere); err != nil {
			t.Fatal(err)
		}
		// Both lists are empty, and so the same bytes: removing one did not remove the other.
		for _, s := range []ocispec.Descriptor{subject, other} {
			again := pushed(t, r, s, "again")
			if got := listed(t, reg, s); len(got) != 1 || got[again.String()] != 1 {
				t.Errorf("signed again: got %v listed, want %s once", got, again)
			}
		}
	})
}

// Each request in turn takes effect and loses its answer, as if the process were killed there.
// Whatever happened, no entry points to nothing, and a second removal finishes it.
func TestRemovalMayBeCutAnywhere(t *testing.T) {
	t.Parallel()
	bothKinds(t, registrytest.Options{}, func(t *testing.T, reg *registrytest.Registry) {
		var steps atomic.Int32
		for lost := range 5 {
			reg.SetHook(nil)
			subject := image(t, reg, fmt.Sprint(lost))
			r := open(t, reg.Host()+"/app", -1, deleting)
			ours, theirs := pushed(t, r, subject, "us"), pushed(t, r, subject, "them")
			steps.Store(0)
			reg.SetHook(func(_ http.ResponseWriter, req *http.Request, next http.Handler) bool {
				if int(steps.Add(1))-1 == lost {
					registrytest.LoseAnswer(req, next)
				}
				return false
			})
			_ = r.RemoveSignature(t.Context(), subject.Digest, ours) // its result does not matter here
			reg.SetHook(nil)
			for d := range listed(t, reg, subject) {
				if !stored(t, reg, digest.Digest(d)) {
					t.Errorf("answer %d lost: got %s listed and gone, want it stored", lost, d)
				}
			}
			if err := open(t, reg.Host()+"/app", -1, deleting).RemoveSignature(t.Context(), subject.Digest, ours); err != nil {
				t.Errorf("answer %d lost: once more: got %v, want no error", lost, err)
			}
			if got := listed(t, reg, subject); len(got) != 1 || got[theirs.String()] != 1 || stored(t, reg, ours) {
				t.Errorf("answer %d lost: in the end: got %v listed, want %s", lost, got, theirs)
			}
		}
	})
}

// If an entry points to nothing, notation gives up on all signatures of the image.
func TestEntryOfWhatIsGoneIsTakenOffTheList(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{})
	r := open(t, reg.Host()+"/app", 0, deleting)
	subject := image(t, reg, "1")
	ours, theirs := pushed(t, r, subject, "us"), pushed(t, r, subject, "them")
	if err := reg.Delete("app", ours.String()); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, reg, subject); len(got) != 2 {
		t.Fatalf("got %v listed, want 2", got)
	}
	if err := r.UnlistSignature(t.Context(), subject.Digest, ours); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, reg, subject); len(got) != 1 || got[theirs.String()] != 1 {
		t.Errorf("got %v listed, want %s", got, theirs)
	}
	if err := r.UnlistSignature(t.Context(), subject.Digest, theirs); err != nil || !stored(t, reg, theirs) {
		t.Errorf("only taken off the list: got %v, want no error, and %s stored", err, theirs)
	}
}

// A signature that was pushed with the tag forced is in that list even if there is an API.
func TestForcedTagIsUnlistedToo(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	subject := image(t, reg, "1")
	forced := open(t, reg.Host()+"/app", 0, func(o *Options) { o.ForceReferrersTag = true })
	// An answer without OCI-Subject makes oras-go keep the list as well.
	reg.SetHook(func(w http.ResponseWriter, req *http.Request, next http.Handler) bool {
		next.ServeHTTP(withoutSubject{w}, req)
		return true
	})
	ours := pushed(t, forced, subject, "us")
	reg.SetHook(nil)
	tag := fallbackTag(subject.Digest)
	if list, err := reg.Manifest("app", tag); err != nil || !strings.Contains(string(list), ours.String()) {
		t.Fatalf("the tag: got %s, %v, want %s in it", list, err, ours)
	}
	if err := open(t, reg.Host()+"/app", 0, deleting).RemoveSignature(t.Context(), subject.Digest, ours); err != nil {
		t.Fatal(err)
	}
	if list, err := reg.Manifest("app", tag); err != nil || strings.Contains(string(list), ours.String()) {
		t.Errorf("the tag: got %s, %v, want it without %s", list, err, ours)
	}
}

type withoutSubject struct{ http.ResponseWriter }

func (w withoutSubject) WriteHeader(status int) {
	w.Header().Del("OCI-Subject")
	w.ResponseWriter.WriteHeader(status)
}

func TestListKeepsWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	d, o := digest.FromString("ours"), digest.FromString("theirs")
	index := fmt.Sprintf(`{"schemaVersion":2,"x":{"b":1,"a":2},"manifests":[{"digest":%q,"artifactType":"application/spdx+json"},{"digest":%q,"unknown":1.50,"artifactType":%q},{"digest":%q,"artifactType":%q,"size":3},"nonsense"]}`,
		d, o, ArtifactType, d, ArtifactType)
	of := func(d digest.Digest) func(ocispec.Descriptor) bool {
		return func(e ocispec.Descriptor) bool { return e.Digest == d && e.ArtifactType == ArtifactType }
	}
	got, changed, err := withoutEntries([]byte(index), of(d))
	if err != nil || !changed {
		t.Fatalf("got changed %v, %v, want true", changed, err)
	}
	want := fmt.Sprintf(`{"manifests":[{"digest":%q,"artifactType":"application/spdx+json"},{"digest":%q,"unknown":1.50,"artifactType":%q},"nonsense"],"schemaVersion":2,"x":{"b":1,"a":2}}`, d, o, ArtifactType)
	if string(got) != want {
		t.Errorf("left is\n%s, want\n%s", got, want)
	}
	if _, changed, err := withoutEntries(got, of(digest.FromString("another"))); changed || err != nil {
		t.Errorf("of one that is not listed: got changed %v, %v, want false", changed, err)
	}
	for _, bad := range []string{`[]`, `{`, `{"manifests":{}}`, `{}`} {
		if _, _, err := withoutEntries([]byte(bad), of(d)); err == nil {
			t.Errorf("%s: got no error, want one", bad)
		}
	}
}

// What a forged ledger may name in place of a signature.
func TestOnlySignaturesOfTheImageAreTakenForOne(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Referrers: true})
	r := open(t, reg.Host()+"/app", 0, deleting)
	subject, other := image(t, reg, "1"), image(t, reg, "2")
	index, err := reg.PutIndex("app", "multi", "multi")
	if err != nil {
		t.Fatal(err)
	}
	docker, err := reg.PutDockerImage("app", "docker", "docker")
	if err != nil {
		t.Fatal(err)
	}
	theirs := pushed(t, r, other, "us")
	// A signature's bytes under another media type, and an attachment of another kind.
	s := sign(t, subject, "us")
	if _, err := reg.PutManifest("app", "", "application/vnd.example+json", s.manifest); err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	sbom := pushed(t, r, subject, "sbom")
	raw, err := reg.Manifest("app", sbom.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	attached, err := reg.PutManifest("app", "", ocispec.MediaTypeImageManifest, raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]digest.Digest{
		"the image": subject.Digest, "another image": other.Digest, "an index": index.Digest, "a docker image": docker.Digest,
		"a signature of another image": theirs, "another media type": s.desc.Digest, "another kind": attached.Digest,
	} {
		err := r.StoredSignature(t.Context(), subject.Digest, d).Err()
		if !errors.Is(err, ErrNotSignature) || failure.Of(err) != failure.Security {
			t.Errorf("%s: got %v, want %v", name, err, ErrNotSignature)
		}
	}
	for _, d := range []digest.Digest{"", "latest", "sha256:../../x", "sha256:abc"} {
		if r.StoredSignature(t.Context(), subject.Digest, d).Err() == nil {
			t.Errorf("digest %q: got no error, want one", d)
		}
		if err := r.RemoveSignature(t.Context(), subject.Digest, d); err == nil {
			t.Errorf("removing %q: got no error, want one", d)
		}
	}
	if slices.ContainsFunc(reg.Log(), func(line string) bool { return strings.HasPrefix(line, "DELETE") }) {
		t.Error("got something deleted, want nothing")
	}
}

// Only what the registry itself says is gone is gone.
func TestDoubtfulAnswersAreNotGone(t *testing.T) {
	t.Parallel()
	d, s := digest.FromString("image"), digest.FromString("signature")
	other := sign(t, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d, Size: 1}, "us")
	for name, h := range map[string]http.HandlerFunc{
		"a proxy's 404":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"an unknown repository": func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "NAME_UNKNOWN") },
		"a refusal":             func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "DENIED") },
		"another signature": func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/blobs/") {
				_, _ = w.Write(other.envelope)
				return
			}
			manifestAnswer(w, ocispec.MediaTypeImageManifest, s.String(), string(other.manifest))
		},
		"another envelope": func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/blobs/") {
				_, _ = w.Write(bytes.ToUpper(other.envelope))
				return
			}
			manifestAnswer(w, ocispec.MediaTypeImageManifest, "", string(other.manifest))
		},
	} {
		r := open(t, serve(t, h)+"/app", -1)
		asked := s
		if name == "another envelope" {
			asked = other.desc.Digest
		}
		if r.StoredSignature(t.Context(), d, asked).Err() == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, code)
}

// If nothing can be deleted, nothing is unlisted either, and the user is told what to do.
func TestRefusedDeletionLeavesTheListAsItIs(t *testing.T) {
	t.Parallel()
	bothKinds(t, registrytest.Options{RefuseDelete: true}, func(t *testing.T, reg *registrytest.Registry) {
		r := open(t, reg.Host()+"/app", 0, deleting)
		subject := image(t, reg, "1")
		ours := pushed(t, r, subject, "us")
		err := r.RemoveSignature(t.Context(), subject.Digest, ours)
		if !errors.Is(err, ErrDeleteRefused) || !strings.Contains(err.Error(), "REGISTRY_STORAGE_DELETE_ENABLED") {
			t.Errorf("got %v, want %v that names the setting", err, ErrDeleteRefused)
		}
		if got := listed(t, reg, subject); len(got) != 1 || !stored(t, reg, ours) {
			t.Errorf("got %v listed, want %s listed and stored", got, ours)
		}
		readOnly := open(t, reg.Host()+"/app", 0, func(o *Options) { o.ReadOnly = true })
		if err := readOnly.RemoveSignature(t.Context(), subject.Digest, ours); !errors.Is(err, errReadOnly) {
			t.Errorf("read-only: got %v, want %v", err, errReadOnly)
		}
	})
}

func TestImmutableTagsAreNamedWhenDeleting(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusPreconditionFailed} {
		reg := start(t, registrytest.Options{})
		r := open(t, reg.Host()+"/app", 0, deleting)
		subject := image(t, reg, "1")
		ours := pushed(t, r, subject, "us")
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
				hit := req.Method == method && !strings.HasSuffix(req.URL.Path, nothing.String())
				if hit {
					w.WriteHeader(status)
					_, _ = fmt.Fprint(w, `{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to 'sha256-1' configured as immutable."}]}`)
				}
				return hit
			})
			err := r.RemoveSignature(t.Context(), subject.Digest, ours)
			if failure.Of(err) != failure.Denied || !strings.Contains(err.Error(), "tags of this repository cannot be changed") || strings.Contains(err.Error(), "content trust") || strings.Contains(err.Error(), "will only be pushed") {
				t.Errorf("%s answered with %d: got class %s, %v, want %s as tags cannot be changed", method, status, failure.Of(err), err, failure.Denied)
			}
		}
	}
}

// Removals and pushes for one image share its list.
func TestRemovalsAndPushesLoseNoEntry(t *testing.T) {
	t.Parallel()
	reg := start(t, registrytest.Options{Latency: time.Millisecond})
	r := open(t, reg.Host()+"/app", 0, deleting)
	subject := image(t, reg, "1")
	var old []digest.Digest
	for i := range 6 {
		old = append(old, pushed(t, r, subject, fmt.Sprint("old ", i)))
	}
	var g errgroup.Group
	for i := range 6 {
		s := sign(t, subject, fmt.Sprint("new ", i))
		g.Go(func() error { return s.push(context.Background(), r, subject) })
		g.Go(func() error { return r.RemoveSignature(context.Background(), subject.Digest, old[i]) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got := listed(t, reg, subject)
	for _, d := range old {
		if got[d.String()] != 0 || stored(t, reg, d) {
			t.Errorf("%s: got it there still, want it gone", d)
		}
	}
	if len(got) != 6 {
		t.Errorf("got %d new ones listed, want 6", len(got))
	}
}

// A proxy's 404 says neither that there is no list, which would leave an entry that leads to
// nothing, nor that manifests can be deleted here.
func TestRemovalNeedsTheRegistrysOwnWord(t *testing.T) {
	t.Parallel()
	for name, hit := range map[string]func(*http.Request) bool{
		"for the list": func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256-")
		},
		"for the deletion": func(r *http.Request) bool { return r.Method == http.MethodDelete },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := start(t, registrytest.Options{})
			r := open(t, reg.Host()+"/app", -1, deleting)
			subject := image(t, reg, "1")
			ours := pushed(t, r, subject, "us")
			reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
				if hit(req) {
					w.WriteHeader(http.StatusNotFound)
				}
				return hit(req)
			})
			if err := r.RemoveSignature(t.Context(), subject.Digest, ours); err == nil {
				t.Error("a proxy's word: got no error, want one")
			}
			reg.SetHook(nil)
			if got := listed(t, reg, subject); got[ours.String()] != 1 || !stored(t, reg, ours) {
				t.Errorf("listed %v, want %s listed and stored", got, ours)
			}
			if err := r.RemoveSignature(t.Context(), subject.Digest, ours); err != nil || stored(t, reg, ours) {
				t.Errorf("when it was over: got %v, want %s removed", err, ours)
			}
		})
	}
}

// HTTP turns a redirected DELETE into a GET, which deletes nothing and succeeds. It is noticed before the list is
// changed.
func TestARedirectedDeletionDeletesNothing(t *testing.T) {
	t.Parallel()
	bothKinds(t, registrytest.Options{}, func(t *testing.T, reg *registrytest.Registry) {
		r := open(t, reg.Host()+"/app", 0, deleting)
		subject := image(t, reg, "1")
		ours := pushed(t, r, subject, "us")
		reg.SetHook(func(w http.ResponseWriter, req *http.Request, _ http.Handler) bool {
			if req.Method != http.MethodDelete {
				return false
			}
			http.Redirect(w, req, req.URL.Path, http.StatusFound)
			return true
		})
		err := r.RemoveSignature(t.Context(), subject.Digest, ours)
		if err == nil || !strings.Contains(err.Error(), "redirect") {
			t.Errorf("got %v, want that the deletion was redirected", err)
		}
		if got := listed(t, reg, subject); len(got) != 1 || !stored(t, reg, ours) {
			t.Errorf("got %v listed, want %s listed and stored", got, ours)
		}
	})
}
