package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/state"
)

func TestItemsPageThroughAllInOrderAndStartAtARepository(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	var items []state.Item
	for n := range 250 {
		items = append(items, item(n))
	}
	plan(t, l, items...)
	for _, page := range []int{1, 7, 250, 0} {
		got, err := all(l, page)
		must(t, err)
		if len(got) != 250 || !slices.IsSortedFunc(got, func(a, b state.Item) int {
			return strings.Compare(a.Repository+a.Digest, b.Repository+b.Digest)
		}) {
			t.Errorf("by pages of %d: got %d items, want 250 in order", page, len(got))
		}
	}
	repository := key(1).Repository
	got, err := l.Items(state.Key{Repository: repository}, 1)
	if err != nil || len(got) != 1 || got[0].Repository != repository {
		t.Errorf("first of %s: got %+v, %v, want one of it", repository, got, err)
	}
}

func TestRepositoryIsKeptWholeAndTrustAtFirstSightLeavesOneEvent(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	want := state.Repository{
		GUN: "docker.io/library/alpine", Roles: map[string]state.Floor{"targets": {Version: 12, SHA256: "ab"}},
		Root: []byte(`{"signed":{}}` + "\n"), Pin: state.PinTOFU, RootKeyIDs: []string{"k1", "k2"},
		RootKeys: []string{"k0", "k1", "k2"}, VerifiedAt: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}
	if _, found, err := l.Repository(want.GUN); found || err != nil {
		t.Fatalf("unknown repository: got %v, %v, want none", found, err)
	}
	for range 3 {
		must(t, l.SetRepository(want))
	}
	l = reload(t, l, path)
	got, found, err := l.Repository(want.GUN)
	if err != nil || !found || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, %v, want %+v", got, found, err, want)
	}
	events, err := l.Events(0, 0)
	if err != nil || len(events) != 1 || events[0].Kind != state.EventTOFU || events[0].GUN != want.GUN || !strings.Contains(events[0].Reason, "k2") {
		t.Errorf("got events %+v, %v, want one %s that names k2", events, err, state.EventTOFU)
	}
	// A root that replaces another is recorded with both, however it is pinned.
	want.Pin, want.Root, want.RootKeyIDs = state.PinConfig, []byte("{}"), []string{"k3"}
	must(t, l.ReplaceRoot(want, "k3 in place of k1, k2"))
	events, err = l.Events(1, 0)
	if err != nil || len(events) != 1 || events[0].Kind != state.EventRootReplaced || events[0].GUN != want.GUN || events[0].Reason != "k3 in place of k1, k2" {
		t.Errorf("got events %+v, %v, want one %s", events, err, state.EventRootReplaced)
	}
	if got, _, err := l.Repository(want.GUN); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestAnotherConfigurationIsRefusedUnlessForced(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	first := server("https://notary.example.com")
	first.Keys, first.Pins = "aa", map[string][]string{"registry.example.com/*": {"x", "y"}}
	other := server("https://notary.example.com")
	other.Keys, other.Authorities = "bb", map[string]string{"registry.example.com/": "new"}
	if f, err := l.Fingerprint(); f != nil || err != nil {
		t.Errorf("before it is bound: got %v, %v, want nothing", f, err)
	}
	must(t, l.Bind(first, false))
	must(t, l.Bind(first, false))
	l = reload(t, l, path)
	if f, err := l.Fingerprint(); err != nil || f.Keys != first.Keys || !reflect.DeepEqual(f.NotaryServers, first.NotaryServers) || !reflect.DeepEqual(f.Pins, first.Pins) || len(f.Signers)+len(f.RootKeys)+len(f.Authorities) > 0 {
		t.Errorf("got bound to %v, %v, want %v", f, err, first)
	}
	// An empty ledger is bound to nothing: a first run with a wrong address spoils no ledger.
	must(t, l.Bind(other, false))
	must(t, l.Bind(first, false))
	plan(t, l, item(1))
	err := l.Bind(other, false)
	var differs *state.FingerprintError
	if !errors.Is(err, state.ErrFingerprint) || !errors.As(err, &differs) || !slices.Equal(differs.Fields, []string{"keys"}) {
		t.Fatalf("another configuration: got %v, want %v of keys", err, state.ErrFingerprint)
	}
	must(t, l.Bind(first, false)) // the refusal has changed nothing
	// One field more or one field less is not another configuration.
	must(t, l.Bind(&state.Fingerprint{Authorities: other.Authorities}, false))
	must(t, l.Bind(first, false))
	must(t, l.Bind(other, true))
	l = reload(t, l, path)
	must(t, l.Bind(other, false))
	events, err := l.Events(0, 0)
	if err != nil || len(events) != 1 || events[0].Kind != state.EventRebound || !strings.Contains(events[0].Reason, "keys") {
		t.Errorf("got events %+v, %v, want one %s that names keys", events, err, state.EventRebound)
	}
}

func TestEventsTellWhatWasDoneInOrder(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := state.Open(path, state.Options{Tool: "test", Clock: func() time.Time { return now }})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	plan(t, l, item(1))
	must(t, settle(l, 1))
	_, err = l.Reopen(key(1))
	must(t, err)
	must(t, l.Skip(key(1), "tag-moved", "the tag moved"))
	events, err := l.Events(0, 0)
	must(t, err)
	var kinds []state.EventKind
	for i, e := range events {
		kinds = append(kinds, e.Kind)
		if e.Seq != uint64(i+1) || e.Item != key(1) || !e.Time.Equal(now) || (e.Previous == "") != (i == 0) {
			t.Errorf("event %d: got %+v, want number %d of %v at %s", i, e, i+1, key(1), now)
		}
	}
	want := []state.EventKind{state.EventSigned, state.EventPushed, state.EventConfirmed, state.EventReopened, state.EventSkipped}
	if !slices.Equal(kinds, want) {
		t.Fatalf("got events %v, want %v", kinds, want)
	}
	if events[0].LeafThumbprint != "ab12" || events[1].Signature != signature(1) || events[4].Class != "tag-moved" {
		t.Errorf("got events %+v, want thumbprint, signature and class in them", events)
	}
	rest, err := l.Events(3, 1)
	if err != nil || len(rest) != 1 || rest[0].Seq != 4 {
		t.Errorf("after the third: got %+v, %v, want the fourth", rest, err)
	}
	got, _, err := l.Item(key(1))
	if err != nil || !got.Updated.Equal(now) {
		t.Errorf("got stamped %v, %v, want %v", got.Updated, err, now)
	}
}

func TestEventsVerifyAcrossPages(t *testing.T) {
	t.Parallel()
	l, _ := newLedger(t)
	var items []state.Item
	for n := range state.MaxPage {
		items = append(items, item(n))
	}
	plan(t, l, items...)
	must(t, l.VerifyEvents())
	var group sync.WaitGroup
	for w := range 50 {
		group.Go(func() {
			for n := w; n < len(items); n += 50 {
				if err := l.Skip(key(n), "class", "reason"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	must(t, l.VerifyEvents()) // exactly one full page
	plan(t, l, item(0))
	must(t, l.Skip(key(0), "class", "reason"))
	must(t, l.VerifyEvents())
}

func TestReopeningAnUnchangedLedgerWritesNothing(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	l = openLedger(t, path)
	plan(t, l, item(1))
	must(t, l.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	if runtime.GOOS != "windows" && string(before) != string(after) {
		t.Error("planning the same again: got a changed file, want the same")
	}
}

func TestClosedLedgerSaysSo(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	plan(t, l, item(1))
	must(t, l.Close())
	must(t, l.Close())
	_, planErr := l.Plan([]state.Item{item(2)})
	_, _, itemErr := l.Item(key(1))
	for _, err := range []error{planErr, itemErr, l.Sign(key(1), envelope(1)), l.VerifyEvents()} {
		if !errors.Is(err, state.ErrClosed) {
			t.Errorf("after Close: got %v, want %v", err, state.ErrClosed)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
	if _, err := os.Stat(path + ".holder"); err == nil {
		t.Error("got the holder's file still there, want it gone")
	}
}

// Which repositories have the referrers API is kept for good, and read-only users of the ledger
// see it.
func TestReferrersAreRemembered(t *testing.T) {
	t.Parallel()
	l, path := newLedger(t)
	for _, name := range []string{"reg.example/b", "reg.example/a", "reg.example/a"} {
		must(t, l.SetReferrers(name))
	}
	if err := l.SetReferrers(""); err == nil {
		t.Error("a repository without a name: got no error, want one")
	}
	must(t, l.Close())
	r, err := state.Open(path, state.Options{ReadOnly: true})
	must(t, err)
	defer r.Close()
	got, err := r.Referrers()
	if want := []string{"reg.example/a", "reg.example/b"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for name, want := range map[string]bool{"reg.example/a": true, "reg.example": false, "reg.example/ab": false} {
		if has, err := r.HasReferrers(name); err != nil || has != want {
			t.Errorf("%s: got %v, %v, want %v", name, has, err, want)
		}
	}
	for host, want := range map[string]bool{"reg.example": true, "reg.exampl": false, "reg.example/a": false, "reg.example:5000": false} {
		if has, err := r.HostHasReferrers(host); err != nil || has != want {
			t.Errorf("host %s: got %v, %v, want %v", host, has, err, want)
		}
	}
	if err := r.SetReferrers("reg.example/c"); err == nil {
		t.Error("a change of a ledger that is only read: got no error, want one")
	}
}
