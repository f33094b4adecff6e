package notation

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// examine returns the names of the reported steps, the last one with a mark if it failed, and how
// many key operations they cost.
func (r *rig) examine(t *testing.T, sign bool, o Options) (steps []string, operations int, s *Signer, err error) {
	t.Helper()
	before, e := r.plugin.Calls(r.command())
	must(t, e)
	s, err = Examine(context.Background(), r.key, o, sign, func(f Finding) {
		name := string(f.Step)
		if f.Err != nil {
			name += "!"
		}
		steps = append(steps, name)
	})
	after, e := r.plugin.Calls(r.command())
	must(t, e)
	return steps, len(after) - len(before), s, err
}

func TestExamineTellsEachStep(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	whole := []string{"plugin-file", "plugin", "key-description", "key-signature", "certificate-chain"}
	steps, operations, s, err := r.examine(t, true, Options{})
	if err != nil || !slices.Equal(steps, whole) || operations != 1 {
		t.Errorf("got steps %v, %d operations, error %v, want %v, 1 operation, none", steps, operations, err, whole)
	}
	// A chain known from an earlier run saves Open the signature, but not Examine.
	if steps, operations, _, err := r.examine(t, true, Options{Chain: s.Chain()}); err != nil || !slices.Equal(steps, whole) || operations != 1 {
		t.Errorf("with the chain known: got steps %v, %d operations, error %v, want %v, 1 operation, none", steps, operations, err, whole)
	}
}

func TestExamineWithoutSigningSpendsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	steps, operations, s, err := r.examine(t, false, Options{})
	if err != nil || s != nil || operations != 0 || !slices.Equal(steps, []string{"plugin-file", "plugin", "key-description"}) {
		t.Errorf("got steps %v, %d operations, error %v, want no signer after key-description, 0 operations, none", steps, operations, err)
	}
	opened := r.open(t, "jws")
	steps, operations, s, err = r.examine(t, false, Options{Chain: opened.Chain()})
	if err != nil || s == nil || operations != 0 || !slices.Contains(steps, "certificate-chain") {
		t.Errorf("with the chain known: got steps %v, %d operations, error %v, want a signer, certificate-chain, 0 operations, none", steps, operations, err)
	}
}

// The failing step is the last one reported, and the one to blame.
func TestExamineBlamesTheStep(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(t *testing.T, r *rig){
		"plugin-file!":   func(t *testing.T, r *rig) { r.key.PluginPath = filepath.Join(t.TempDir(), "none") },
		"plugin-sha256!": func(_ *testing.T, r *rig) { r.key.PluginSHA256 = strings.Repeat("0", 64) },
		"plugin!": func(t *testing.T, r *rig) {
			r.misbehave(t, kmstest.Fault{Command: "get-plugin-metadata", Kind: kmstest.WrongContract})
		},
		"key-description!": func(_ *testing.T, r *rig) { r.key.ID = "another" },
		"key-signature!": func(t *testing.T, r *rig) {
			r.misbehave(t, kmstest.Fault{Command: "generate-signature", Kind: kmstest.AccessDenied})
		},
		"certificate-chain!": func(t *testing.T, r *rig) {
			id, err := r.ca.Issue("old", nil, pki.Valid(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))
			must(t, err)
			r.keys["release"], err = id.Save(t.TempDir(), "old")
			must(t, err)
			must(t, r.plugin.Set(kmstest.Behaviour{Keys: r.keys}))
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256, kmstest.RAW)
			change(t, r)
			steps, _, s, err := r.examine(t, true, Options{})
			if err == nil || s != nil || steps[len(steps)-1] != want {
				t.Errorf("got steps %v, error %v, want an error at step %s", steps, err, want)
			}
		})
	}
}

// A key in files is proven as well; that costs nothing.
func TestExamineProvesKeysInFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, pki.EC256, kmstest.RAW)
	k := r.keys["release"]
	r.key = Key{Name: "local", KeyFile: k.KeyFile, CertFile: k.ChainFile}
	steps, _, s, err := r.examine(t, true, Options{})
	if err != nil || s == nil || !slices.Equal(steps, []string{"key-files", "certificate-chain", "key-files", "key-signature"}) {
		t.Errorf("got steps %v, error %v, want key-files, certificate-chain, key-files, key-signature and none", steps, err)
	}
}

// A plugin that others could replace is refused before it is started.
func TestPluginThatOthersCouldReplaceIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, r *rig){
		"file mode":   func(t *testing.T, r *rig) { must(t, os.Chmod(r.plugin.Path, 0o775)) },
		"folder mode": func(t *testing.T, r *rig) { must(t, os.Chmod(filepath.Dir(r.plugin.Path), 0o777)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, pki.EC256, kmstest.RAW)
			change(t, r)
			_, err := Open(context.Background(), r.key, Options{})
			if err == nil || !strings.Contains(err.Error(), "written by others") || !strings.Contains(err.Error(), "hint: chmod go-w ") {
				t.Errorf("got error %v, want one with \"written by others\" and a hint of chmod go-w", err)
			}
			if calls, _ := r.plugin.Calls(""); len(calls) != 0 {
				t.Errorf("got the plugin started %d times, want 0", len(calls))
			}
		})
	}
	t.Run("sticky folder", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, pki.EC256, kmstest.RAW)
		must(t, os.Chmod(filepath.Dir(r.plugin.Path), 0o777|os.ModeSticky))
		r.open(t, "jws")
	})
}
