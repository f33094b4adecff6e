package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var sample = Item{
	Key:   Key{Repository: "registry.example.com/app", Digest: "sha256:" + strings.Repeat("a", 64), KeyName: "release"},
	Stage: Signed, GUN: "registry.example.com/app", Size: 528, Tags: []Tag{{"v1", "targets", 3}},
	Signature: "sha256:b", Updated: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
}

func sealed(t testing.TB, i Item) []byte {
	t.Helper()
	value, err := encode(bucketItems, i.Key.bytes(), newItemRecord(i))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// readItem reads an item as every reader does.
func readItem(key, value []byte) (Item, error) {
	var r itemRecord
	if err := decode(bucketItems, key, value, &r); err != nil {
		return Item{}, err
	}
	return r.item(key)
}

func TestARecordIsReadOnlyWhereItWasWritten(t *testing.T) {
	t.Parallel()
	key, value := sample.Key.bytes(), sealed(t, sample)
	if got, err := readItem(key, value); err != nil || !reflect.DeepEqual(got, sample) {
		t.Fatalf("got %+v, %v, want %+v", got, err, sample)
	}
	other := bytes.Replace(key, []byte("app"), []byte("web"), 1)
	if _, err := readItem(other, value); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another key: got %v, want %v", err, ErrDamaged)
	}
	// Even if somebody has made the checksum fit.
	if _, err := readItem(other, seal(bucketItems, other, value[sumSize:])); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another key, with its checksum: got %v, want %v", err, ErrDamaged)
	}
	if _, err := unseal(bucketOutbox, key, value); !errors.Is(err, ErrDamaged) {
		t.Errorf("in another bucket: got %v, want %v", err, ErrDamaged)
	}
	for i := range value {
		flipped := bytes.Clone(value)
		flipped[i] ^= 4
		if _, err := readItem(key, flipped); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d flipped: got %v, want %v", i, err, ErrDamaged)
		}
	}
}

func TestRecordsFromElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	key, good := sample.Key.bytes(), string(sealed(t, sample)[sumSize:])
	for name, payload := range map[string]string{
		"unknown field":   strings.Replace(good, `"size"`, `"weight"`, 1),
		"newer version":   strings.Replace(good, `"v":2`, `"v":3`, 1),
		"no version":      strings.Replace(good, `"v":2`, `"v":0`, 1),
		"unknown stage":   strings.Replace(good, `"signed"`, `"done"`, 1),
		"data at the end": good + "{}",
		"no JSON":         "v1",
		"nothing":         "",
	} {
		if payload == good {
			t.Fatalf("%s: got the same, want the test to change something", name)
		}
		if _, err := readItem(key, seal(bucketItems, key, []byte(payload))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, ErrDamaged)
		}
	}
}

func FuzzRecord(f *testing.F) {
	good := sealed(f, sample)
	f.Add(good[sumSize:], true)
	f.Add(good, false)
	f.Add([]byte(`{"v":1,"stage":"planned","tags":[{}]}`), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, addSum bool) {
		key := sample.Key.bytes()
		if addSum {
			data = seal(bucketItems, key, data)
		}
		got, err := readItem(key, data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want %v", err, ErrDamaged)
			}
			return
		}
		if got.Key != sample.Key || !got.Stage.known() {
			t.Fatalf("got %+v, want key %v and a known stage", got, sample.Key)
		}
		// What can be read can be written and read again.
		again, err := readItem(key, sealed(t, got))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(newItemRecord(got))
		b, _ := json.Marshal(newItemRecord(again))
		if !bytes.Equal(a, b) {
			t.Fatalf("read again: got %s, want %s", b, a)
		}
	})
}

func FuzzAudit(f *testing.F) {
	path := filepath.Join(f.TempDir(), "ledger.db")
	l, err := Open(path, Options{})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := l.Plan([]Item{sample}); err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{})
	f.Add(uint32(2*4096+16), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint32(4096), file[:4096])
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		data := bytes.Clone(file)
		copy(data[int(at)%len(data):], patch)
		err := audit(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerSchema) {
			t.Fatal(err)
		}
	})
}

// TestFieldsOfAFingerprint checks that ledgers keep their field names, and that no field is lost
// or ignored. A field unknown to this version is compared like any other.
func TestFieldsOfAFingerprint(t *testing.T) {
	t.Parallel()
	const id = "azure kv/release azure-kv https://vault.example.net/keys/release/1"
	stored := fields{
		"keys": id, "identity of " + id: "a", "earlier identities of " + id: "b,c", "chain of " + id: `["MIIB"]`,
		"time-stamping authority of " + id: "https://tsa.example.net", "pin of registry.example.com/app": "k1,k2",
		"pinned root keys of registry.example.com/*": "k3", "authorities pinned for registry.example.com/": "sha256:a,sha256:b",
		"notary server of registry.example.com": "https://notary.example.com",
		// No run of this version writes these.
		"colour": "red", "identity of gone": "", "pin of nothing": "", "chain of spaced": `[ "MIIB" ]`, "chain of nobody": "none",
	}
	f := stored.typed()
	if got := f.fields(); !maps.Equal(got, stored) {
		t.Errorf("got fields\n%v, want\n%v", got, stored)
	}
	if got, want := f.Named("azure kv/release"), []Signer{f.Signers[id]}; !reflect.DeepEqual(got, want) || got[0].Identity != "a" || len(got[0].Earlier) != 2 {
		t.Errorf("got %v under its name, want %v", got, want)
	}
	for name := range stored {
		other := maps.Clone(stored)
		other[name] += "d"
		var differs *FingerprintError
		if err := f.Check(other.typed()); !errors.As(err, &differs) || !slices.Equal(differs.Fields, []string{name}) {
			t.Errorf("%s changed: got %v, want it refused", name, err)
		}
		delete(other, name)
		if err := errors.Join(f.Check(other.typed()), other.typed().Check(f)); err != nil {
			t.Errorf("%s missing: got %v, want no error", name, err)
		}
	}
	for field, want := range map[string]string{
		"pin of registry.example.com/app": "registry.example.com/app", "pinned root keys of registry.example.com/*": "registry.example.com/*",
		"authorities pinned for registry.example.com/": "", "keys": "",
	} {
		if name, ids := f.Pin(field); name != want || (len(ids) == 0) != (want == "") {
			t.Errorf("%s: got a pin of %q to %v, want of %q", field, name, ids, want)
		}
	}
}
