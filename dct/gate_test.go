package dct

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	canonical "github.com/docker/go/canonical/json"
)

func TestGateRefusesAmbiguousJSON(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"duplicate":              `{"signed":{"a":1,"a":2}}`,
		"duplicate targets":      `{"signed":{"targets":{},"targets":{"v1":{}}}}`,
		"duplicate tag":          `{"signed":{"targets":{"v1":{"length":1},"v1":{"length":2}}}}`,
		"duplicate in an array":  `{"signatures":[{"keyid":"a","keyid":"b"}]}`,
		"duplicate hashes":       `{"signed":{"targets":{"v1":{"hashes":{"sha256":"a","sha256":"b"}}}}}`,
		"duplicate by escape":    `{"signed":{"a":1,"\u0061":2}}`,
		"case of a field":        `{"Signed":{}}`,
		"case of a nested field": `{"signed":{"targets":{"v1":{"LENGTH":5,"length":6}}}}`,
		"long s":                 `{"ſigned":{}}`,
		"kelvin sign":            `{"signed":{"\u212aeys":{}}}`,
		"case in a list":         `{"signed":{"delegations":{"roles":[{"Name":"x"}]}}}`,
		"2^53":                   `{"signed":{"version":9007199254740992}}`,
		"exponent":               `{"signed":{"version":1e1}}`,
		"fraction":               `{"signed":{"version":1.0}}`,
		"minus zero":             `{"signed":{"version":-0}}`,
		"bad UTF-8":              "{\"signed\":\"\xff\"}",
		"lone surrogate":         `{"signed":"\ud800"}`,
		"lone surrogate in key":  `{"\ud800":1}`,
		"two values":             `{} {}`,
		"trailing":               `{}x`,
		"array":                  `[]`,
		"null":                   `null`,
		"empty":                  ``,
		"truncated":              `{"signed":`,
		"depth":                  strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		"depth of arrays":        `{"a":` + strings.Repeat("[", 100_000),
	} {
		if err := gate([]byte(in)); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestGatePassesWhatIsPlain(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"tags that differ in case": `{"signed":{"targets":{"V1":{"length":1},"v1":{"length":2}}}}`,
		"a tag named length":       `{"signed":{"targets":{"length":{"length":1},"LENGTH":{"length":1},"targets":{"length":3}}}}`,
		"custom data":              `{"signed":{"targets":{"v":{"custom":{"Length":1,"length":2,"x":[{"NAME":1}]}}}}}`,
		"largest number":           `{"signed":{"version":9007199254740991,"length":-5}}`,
		"nothing":                  `{}`,
	} {
		if err := gate([]byte(in)); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

// The two decoders in the notary library read alike whatever the gate accepts.
func FuzzGate(f *testing.F) {
	f.Add([]byte(`{"signed":{"_type":"Targets","targets":{"v1":{"hashes":{"sha256":"AAAA"},"length":5}},"version":2},"signatures":[{"keyid":"k","method":"ecdsa","sig":"AA=="}]}`))
	f.Add([]byte(`{"signed":{"a":1,"A":2}}`))
	f.Add([]byte("{\"ſigned\":{}}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if gate(in) != nil {
			return
		}
		var byMap map[string]any
		if err := canonical.Unmarshal(in, &byMap); err != nil {
			return // the library refuses it too
		}
		var byStruct struct {
			Signed struct {
				Version int `json:"version"`
				Targets map[string]struct {
					Length int64 `json:"length"`
				} `json:"targets"`
			} `json:"signed"`
		}
		if err := canonical.Unmarshal(in, &byStruct); err != nil {
			return
		}
		signed, _ := byMap["signed"].(map[string]any)
		targets, _ := signed["targets"].(map[string]any)
		if len(targets) != len(byStruct.Signed.Targets) {
			t.Fatalf("got %d targets by the map, want %d as by the struct", len(targets), len(byStruct.Signed.Targets))
		}
		for name, v := range targets {
			meta, _ := v.(map[string]any)
			length, _ := json.Marshal(meta["length"])
			want, _ := json.Marshal(byStruct.Signed.Targets[name].Length)
			if meta["length"] != nil && !bytes.Equal(length, want) {
				t.Fatalf("%q: got length %s by the map, want %s as by the struct", name, length, want)
			}
		}
	})
}

var fuzzRoles = []string{"root", "timestamp", "snapshot", "targets", "targets/releases", "targets/alice"}

// seed adds the files that the vectors make, and their signed parts, to a corpus. Without fuzzing
// it takes one vector in ten: TestVectors runs them all anyway. With ours, the publisher's keys
// were used only for the healthy repository.
func seed(f *testing.F, add func(role byte, raw, signed []byte, ours bool)) {
	f.Helper()
	base, fuzzing := vectorBase(f), flag.Lookup("test.fuzz").Value.String() != ""
	for i, v := range loadVectors(f) {
		if !fuzzing && i%10 != 0 || v.ways()[0] != "" || slices.ContainsFunc(v.edits, func(e string) bool { return strings.Contains(e, "00000 ") }) {
			continue // behaviours of a server, and big files
		}
		m := base.clone(f)
		apply(f, m, v.edits)
		for i, role := range fuzzRoles {
			raw := m.files[role]
			if bytes.Equal(raw, base.files[role]) || !slices.ContainsFunc(v.edits, func(e string) bool { return split(e)[1] == role }) {
				continue // not changed, or only because something else was
			}
			_, signed, _ := bytes.Cut(raw, []byte(`"signed":`))
			published := slices.ContainsFunc(v.edits, func(e string) bool { return docEdits[split(e)[0]] != nil })
			add(byte(i), raw, bytes.TrimSuffix(signed, []byte("}")), !published || role == "snapshot" || role == "timestamp")
		}
	}
}

// FuzzLoader puts any bytes in the place of one role's file. The sender has none of the
// publisher's keys. It acts alone, or uses the server's two keys to vouch for the file or to sign
// it. Whatever is accepted was signed by the publisher, and nothing panics.
func FuzzLoader(f *testing.F) {
	const modes = 3
	seed(f, func(role byte, raw, signed []byte, ours bool) {
		if ours {
			f.Add(role, byte(1), raw)
		}
		if name := fuzzRoles[role]; name == "snapshot" || name == "timestamp" {
			f.Add(role, byte(2), signed)
		}
	})
	for i, role := range fuzzRoles {
		f.Add(byte(i), byte(0), vectorBase(f).files[role])
		f.Add(byte(i), byte(0), []byte("{}"))
	}
	base := vectorBase(f)
	healthy, err := base.reader().Read(context.Background(), fuzzGUN(f), Known{})
	base.must(err)
	f.Fuzz(func(t *testing.T, role, mode byte, raw []byte) {
		m, name := base.clone(t), fuzzRoles[int(role)%len(fuzzRoles)]
		s := &script{m: m}
		switch mode % modes {
		case 0: // alone
			m.put(name, raw)
		case 1: // vouched for
			s.vouched(name, raw)
		case 2: // signed by the server
			if name != "snapshot" && name != "timestamp" {
				return
			}
			s.vouched(name, m.sealAny(raw, m.keys[name]...))
		}
		got, err := m.reader().Read(context.Background(), fuzzGUN(t), Known{})
		if err != nil {
			checkFuzzError(t, err)
			return
		}
		for _, target := range got.Targets() {
			// A server can hide a signer's role, and with it signers and disagreement.
			if !slices.ContainsFunc(healthy.Targets(), func(h Target) bool {
				return h.Tag() == target.Tag() && h.Digest() == target.Digest() && h.Role() == target.Role() && h.Size() == target.Size()
			}) {
				t.Fatalf("got\n%s, want only targets that were signed:\n%s", show(got), show(healthy))
			}
		}
		if name != "snapshot" && name != "timestamp" && show(got) != show(healthy) {
			t.Fatalf("%s: got\n%s, want\n%s", name, show(got), show(healthy))
		}
	})
}

// sealAny signs what the notary library would make of any bytes.
func (m *mint) sealAny(raw []byte, keys ...mintKey) []byte {
	message := raw
	var decoded map[string]any
	if canonical.Unmarshal(raw, &decoded) == nil {
		if c, err := canonical.MarshalCanonical(decoded); err == nil {
			message = c
		}
	}
	return m.seal(raw, message, keys...)
}

func fuzzGUN(t testing.TB) GUN {
	g, err := ParseGUN(app)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// checkFuzzError checks what all errors promise.
func checkFuzzError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind == nil || e.GUN != app {
		t.Fatalf("got %v, want an error with a kind that names %s", err, app)
	}
	line, _, _ := strings.Cut(err.Error(), "\nhint: ")
	if strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }) {
		t.Fatalf("got %q, want an error without control characters", err)
	}
}

// FuzzTwoDecodersAgree signs any signed part with the keys of its role. From what is accepted, a
// second decoder that knows no fields reads the same targets.
func FuzzTwoDecodersAgree(f *testing.F) {
	seed(f, func(role byte, _, signed []byte, _ bool) { f.Add(role, signed) })
	base := vectorBase(f)
	f.Fuzz(func(t *testing.T, role byte, signed []byte) {
		m, name := base.clone(t), fuzzRoles[int(role)%len(fuzzRoles)]
		(&script{m: m}).vouched(name, m.sealAny(signed, m.keys[name]...))
		got, err := m.reader().Read(context.Background(), fuzzGUN(t), Known{})
		if err != nil {
			checkFuzzError(t, err)
			return
		}
		entries := map[string]map[string]any{}
		for _, role := range fuzzRoles[3:] {
			if got.Version(role) > 0 {
				entries[role] = targetsByMap(t, m.files[role])
			}
		}
		seen := map[string]bool{}
		for _, target := range got.Targets() {
			seen[target.Tag()] = true
			entry, _ := entries[target.Role()][target.Tag()].(map[string]any)
			hashes, _ := entry["hashes"].(map[string]any)
			sum, _ := hashes["sha256"].(string)
			raw, err := base64.StdEncoding.DecodeString(sum)
			if err != nil || hex.EncodeToString(raw) != target.Digest().Encoded() || entry["length"] != float64(target.Size()) {
				t.Fatalf("%q of %s: got %s of %d bytes, want %v as by the map", target.Tag(), target.Role(), target.Digest(), target.Size(), entry)
			}
		}
		for _, finding := range got.Findings() {
			seen[finding.Tag] = true
		}
		for role, tags := range entries {
			for tag := range tags {
				if !seen[tag] {
					t.Fatalf("%q of %s: got neither target nor finding, want one of them:\n%s", tag, role, show(got))
				}
			}
		}
	})
}

// targetsByMap reads the entries of a targets file without structs.
func targetsByMap(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatalf("accepted: got %v, want JSON", err)
	}
	signed, _ := file["signed"].(map[string]any)
	targets, _ := signed["targets"].(map[string]any)
	return targets
}

// FuzzParseGUN: a valid repository name stays in its place in a URL and in a folder, and means the
// same when it is read again.
func FuzzParseGUN(f *testing.F) {
	for _, s := range []string{
		"alpine", "user/app", "index.docker.io/library/a", "localhost:5000/foo", "Reg.Example.com/foo", "[::1]:5000/a/b", "reg.example.com/a__b/c-d",
		"../../x", "reg.example.com/../x", "reg.example.com/a//b", "reg.example.com/a\x00b", "reg.example.com/a:v1", "reg.example.com/a?b", "reg.example.com/a#b",
		"reg.example.com/a%2fb", "reg.example.com/\u202eb", "reg.example.com/a@sha256:" + sha("1"), "https://reg.example.com/a", "a/b/", "/a", ".", "..", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGUN(s)
		if err != nil {
			return
		}
		name := g.String()
		if again, err := ParseGUN(name); err != nil || again != g {
			t.Fatalf("%q reads as %q: got %q, %v, want itself when read again", s, name, again, err)
		}
		if path.Clean(name) != name || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "?#%\\@ ") || !strings.HasPrefix(name, g.Registry()+"/") {
			t.Fatalf("%q: got %q, want a clean path below its registry", s, name)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= 0x20 || r >= 0x7f }) {
			t.Fatalf("%q: got %q, want printable ASCII", s, name)
		}
	})
}

// A delegation speaks only for the names that its paths allow, even if its file is validly signed.
func TestDelegationSpeaksOnlyForItsPaths(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := published(t, s, app, nil, nil)
	must(t, r.Sign("v1", sha("1"), 9))
	must(t, r.Publish())
	must(t, r.AddDelegation("targets/releases", []string{"rc-"}))
	must(t, r.Sign("rc-1", sha("2"), 9, "targets/releases"))
	must(t, r.Publish())
	must(t, r.Tamper("targets/releases", func(signed map[string]any) {
		targets := signed["targets"].(map[string]any)
		targets["v1"], targets["v9"] = targets["rc-1"], targets["rc-1"]
	}, true))
	got, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	want := "rc-1 2 targets/releases\nv1 1 targets legacy-targets\nv9 unreachable-target targets/releases"
	if show(got) != want {
		t.Errorf("got\n%s, want\n%s", show(got), want)
	}
}

// The gate checks the fields of a root's roles, whatever a role is called.
func TestGateKnowsTheFieldsOfRoles(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"root", "targets", "snapshot", "meta"} {
		in := `{"signed":{"roles":{"` + role + `":{"KeyIDs":[],"keyids":["a"],"threshold":1}}}}`
		if err := gate([]byte(in)); err == nil || !strings.Contains(err.Error(), "differs") {
			t.Errorf("%s: got %v, want an error that says differs", role, err)
		}
	}
	if gate([]byte(`{"signed":{"version":-9007199254740992}}`)) == nil {
		t.Error("version -2^53: got no error, want one")
	}
}

// The root certificate's expiry counts like the others: a target does not outlive it.
func TestTargetDoesNotOutliveTheRootCertificate(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	soon := time.Now().Add(time.Hour)
	must(t, r.Recertify("", time.Now().Add(-time.Hour), soon))
	got, err := read(t, pinned(s, r), app, Known{})
	must(t, err)
	if target := got.Targets()[0]; target.Check(soon.Add(-time.Minute)) != nil || target.Check(soon.Add(time.Minute)) == nil {
		t.Errorf("valid until %s: got checks a minute before and after of %v, %v, want only the second to fail", soon, target.Check(soon.Add(-time.Minute)), target.Check(soon.Add(time.Minute)))
	}
}
