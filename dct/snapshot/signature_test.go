package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
)

// harming damages the signatures that a notary makes.
type harming struct {
	*notary
	harm func(*Signature)
}

func (h harming) Attest(ctx context.Context, v Verified) (Signature, error) {
	sig, err := h.notary.Attest(ctx, v)
	h.harm(&sig)
	return sig, err
}

// Trust data that was valid when it was signed is read after it has expired, and says so. Its
// targets may be signed until the next role expires.
func TestSignedTrustDataIsJudgedWhenItWasSigned(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	at := time.Now().Truncate(time.Second)
	s.sign(t, dir, &notary{key: "a", at: at})
	r, err := s.later(t, dir, plain, trusting("a"))
	must(t, err)
	want := dct.Judged{Roles: []string{"timestamp"}, At: at, By: "a"}
	if got := r.Judged(); got.String() != want.String() || len(r.Expired()) != 0 {
		t.Errorf("got judged %s, expired %v, want %s, none expired", got, r.Expired(), want)
	}
	target := r.Targets()[0]
	if target.Judged().String() != want.String() {
		t.Errorf("target: got %s, want %s", target.Judged(), want)
	}
	must(t, target.Check(time.Now().AddDate(0, 0, 20)))
	if err := target.Check(time.Now().AddDate(20, 0, 0)); !errors.Is(err, dct.ErrExpired) {
		t.Errorf("in twenty years: got %v, want %v", err, dct.ErrExpired)
	}
	// None of this is said before something has expired.
	saved := opened(t, dir)
	reader := s.reader()
	reader.Source, reader.TimeAttestation = saved, saved.TimeAttestation(trusting("a"))
	r, err = reader.Read(t.Context(), gun(t, plain), dct.Known{})
	must(t, err)
	if !r.Judged().IsZero() || r.Targets()[0].Check(time.Now().AddDate(0, 0, 20)) == nil {
		t.Errorf("fresh trust data: got judged %s, want no time, and a target that expires", r.Judged())
	}
}

// A snapshot does not verify if its signatures are damaged, missing, or not trusted where trust is
// asked for.
func TestVerifyLooksAtTheSignatures(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	envelopes := func(t *testing.T, dir string) []string {
		t.Helper()
		var paths []string
		for _, a := range opened(t, dir).attached {
			paths = append(paths, filepath.Join(dir, blobName(a.envelope.Digest)), filepath.Join(dir, blobName(a.descriptor.Digest)))
		}
		return paths
	}
	for name, c := range map[string]struct {
		harm   func(t *testing.T, path string)
		every  int // harms every nth path; envelope and manifest alternate
		judge  Judge
		passes bool
	}{
		"whole, nobody asked for":    {nil, 1, nil, true},
		"whole, trusted":             {nil, 1, trusting("a"), true},
		"whole, of somebody else":    {nil, 1, trusting("b"), false},
		"envelope gone":              {func(t *testing.T, p string) { must(t, os.Remove(p)) }, 2, nil, false},
		"envelope damaged":           {func(t *testing.T, p string) { must(t, os.WriteFile(p, []byte("{}"), 0o600)) }, 2, nil, false},
		"envelope gone, a policy":    {func(t *testing.T, p string) { must(t, os.Remove(p)) }, 2, trusting("a"), false},
		"all of a signature is gone": {func(t *testing.T, p string) { must(t, os.Remove(p)) }, 1, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s.sign(t, dir, &notary{key: "a", at: time.Now()})
			for i, path := range envelopes(t, dir) {
				if c.harm != nil && i%c.every == 0 {
					c.harm(t, path)
				}
			}
			results, err := Verify(t.Context(), dir, s.reader(), c.judge)
			must(t, err)
			for _, r := range results {
				if (r.Err == nil) != c.passes {
					t.Errorf("%s: got %v, want a pass %v", r.GUN, r.Err, c.passes)
				}
			}
		})
	}
}

// Promise 2: only a trusted signature of this very manifest, made while the data was valid,
// replaces --allow-expired. Each case says why it does not.
func TestUntrustedSignaturesDoNotHelp(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain, signers)
	fresh := time.Now()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		judge   Judge
		says    string
	}{
		"unsigned":         {func(t *testing.T, dir string) { s.save(t, dir) }, trusting("a"), "no signature"},
		"by a stranger":    {func(t *testing.T, dir string) { s.sign(t, dir, &notary{key: "b", at: fresh}) }, trusting("a"), "not trusted: by b"},
		"without a policy": {func(t *testing.T, dir string) { s.sign(t, dir, &notary{key: "a", at: fresh}) }, nil, "no --snapshot-trust-policy"},
		"signed too late": {func(t *testing.T, dir string) {
			s.sign(t, dir, &notary{key: "a", at: fresh.AddDate(0, 0, 15)})
		}, trusting("a"), "already expired when it was signed"},
		"from the future": {func(t *testing.T, dir string) {
			s.sign(t, dir, &notary{key: "a", at: fresh.AddDate(30, 0, 0)})
		}, trusting("a"), "already expired"},
		"moved from another repository": {func(t *testing.T, dir string) { s.move(t, dir, signers, plain) }, trusting("a"), "over another manifest"},
		"a flipped bit in the envelope": {func(t *testing.T, dir string) {
			s.sign(t, dir, &notary{key: "a", at: fresh})
			flip(t, dir, opened(t, dir).signatures(manifestOf(t, dir, plain))[0].envelope)
		}, trusting("a"), "is damaged"},
		"a flipped bit in its manifest": {func(t *testing.T, dir string) {
			s.sign(t, dir, &notary{key: "a", at: fresh})
			flip(t, dir, opened(t, dir).signatures(manifestOf(t, dir, plain))[0].descriptor)
		}, trusting("a"), "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.prepare(t, dir)
			_, err := s.later(t, dir, plain, c.judge)
			if !errors.Is(err, dct.ErrExpired) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--allow-expired=timestamp") {
				t.Errorf("got %v, want %v with %q and the flag", err, dct.ErrExpired, c.says)
			}
			r, err := s.later(t, dir, plain, c.judge, "timestamp")
			must(t, err)
			if !r.Judged().IsZero() || strings.Join(r.Expired(), " ") != "timestamp" {
				t.Errorf("got judged %s, expired %v, want no time, timestamp expired", r.Judged(), r.Expired())
			}
		})
	}
}

// What had already expired when it was saved and signed must still be allowed.
func TestSignatureDoesNotHealWhatWasExpired(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	must(t, s.repos[plain].Expire("timestamp"))
	dir := t.TempDir()
	o := atNoon()
	n := &notary{key: "a", at: time.Now(), attest: func(v Verified) error {
		if strings.Join(v.Expired(), " ") != "timestamp" {
			t.Errorf("got %v told to the signer, want timestamp", v.Expired())
		}
		return nil
	}}
	o.Signer = n
	reader := s.reader()
	reader.AllowExpired = []string{"timestamp"}
	sum, err := Save(t.Context(), dir, reader, s.guns(t), o)
	must(t, err)
	if sum.Signed != 1 {
		t.Errorf("got %+v, want 1 signed", sum)
	}
	if _, err := s.later(t, dir, plain, trusting("a")); !errors.Is(err, dct.ErrExpired) || !strings.Contains(err.Error(), "already expired when it was signed") {
		t.Errorf("got %v, want %v that says already expired when it was signed", err, dct.ErrExpired)
	}
}

// A judge that fails trusts nothing. Of several signatures, the first trusted one counts.
func TestOneOfSeveralSignaturesCounts(t *testing.T) {
	t.Parallel()
	s := newScene(t, plain)
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	s.sign(t, dir, &notary{key: "stranger", at: now.AddDate(0, 0, -3)})
	s.sign(t, dir, &notary{key: "a", at: now})
	v, err := opened(t, dir).Signature(t.Context(), gun(t, plain), trusting("a"))
	must(t, err)
	if !v.Trusted || !v.At.Equal(now) || v.Leaf != "a" {
		t.Errorf("got %+v, want trusted, at %s, by a", v, now)
	}
	if _, err := s.later(t, dir, plain, failing{}); !errors.Is(err, dct.ErrExpired) || !strings.Contains(err.Error(), "nobody knows") {
		t.Errorf("got %v, want %v that says nobody knows", err, dct.ErrExpired)
	}
	results, err := Verify(t.Context(), dir, s.reader(), trusting("a"))
	must(t, err)
	if len(results) != 1 || results[0].Signatures != 2 || !results[0].Signature.Trusted || results[0].Err != nil {
		t.Errorf("got %+v, want one with 2 signatures, trusted", results)
	}
}

type failing struct{}

func (failing) Judge(context.Context, dct.GUN, ocispec.Descriptor, string, []byte) (Verdict, error) {
	return Verdict{}, errors.New("nobody knows")
}

func manifestOf(t *testing.T, dir, name string) ocispec.Descriptor {
	t.Helper()
	d, ok := opened(t, dir).Manifest(gun(t, name))
	if !ok {
		t.Fatalf("%s: got no manifest, want one", name)
	}
	return d
}

func flip(t *testing.T, dir string, d ocispec.Descriptor) {
	t.Helper()
	path := filepath.Join(dir, blobName(d.Digest))
	raw, err := os.ReadFile(path)
	must(t, err)
	raw[len(raw)/2] ^= 1
	must(t, os.WriteFile(path, raw, 0o644))
}

// move gives one repository's envelope to another's manifest, in an otherwise intact layout.
func (s *scene) move(t *testing.T, dir, from, to string) {
	t.Helper()
	n := &notary{key: "a", at: time.Now()}
	s.save(t, dir)
	taken, err := n.over(manifestOf(t, dir, from))
	must(t, err)
	own, err := n.over(manifestOf(t, dir, to))
	must(t, err)
	moved := strings.Replace(string(own.Manifest), sumOf(own.Envelope).String(), sumOf(taken.Envelope).String(), 1)
	moved = strings.Replace(moved, `"size":`+size(own.Envelope), `"size":`+size(taken.Envelope), 1)
	w := &writer{dir: dir, saved: opened(t, dir)}
	must(t, w.put(taken.Envelope, []byte(moved)))
	d := signatureDescriptor([]byte(moved))
	a, ok := attachmentOf(d, []byte(moved))
	if !ok {
		t.Fatal("got no signature moved, want one")
	}
	w.saved.attached = append(w.saved.attached, a)
	must(t, w.commit())
	if opened(t, dir).Signatures(gun(t, to)) != 1 {
		t.Fatalf("got %d signatures of %s, want the moved one", opened(t, dir).Signatures(gun(t, to)), to)
	}
}

func size(raw []byte) string { return strconv.Itoa(len(raw)) }
