package session

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/state"
)

func TestShardFlag(t *testing.T) {
	for text, want := range map[string]string{
		"0/1": "0/1", "7/8": "7/8", "/8": "3/8", "/3": "no shard 3 of 3", "8/8": "counted from 0", "1": "takes I/N",
		"": "takes I/N", "-1/8": "not a number", "1/0": "from 1 to", "1/10001": "from 1 to", "a/b": "not a number", "1/2/3": "from 1 to",
		"99999999999999999999/2": "not a number", "+1/2": "not a number", "\x1b[1/2": `\x1b`,
	} {
		t.Setenv(jobIndex, "3")
		var s Shard
		got := ""
		if err := s.Set(text); err != nil {
			got = err.Error()
		} else {
			got = s.String()
		}
		if !strings.Contains(got, want) || want == "" {
			t.Errorf("--shard %q: got %q, want %q", text, got, want)
		}
	}
	if err := (Shard{}).Check(); err == nil {
		t.Error("without --shard in Pod 3 of an Indexed Job: got no error, want one")
	}
	if err := (Shard{3, 8}).Check(); err != nil {
		t.Errorf("with --shard in Pod 3: got error %v, want none", err)
	}
	// All Pods would sign the same images at the same time.
	for _, s := range []Shard{{2, 8}, {0, 8}} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), "--shard /8") {
			t.Errorf("with --shard %s in Pod 3: got error %v, want one that suggests --shard /8", s, err)
		}
	}
	t.Setenv(jobIndex, "07")
	if err := (Shard{7, 8}).Check(); err != nil {
		t.Errorf("with --shard 7/8 in Pod 07: got error %v, want none", err)
	}
	t.Setenv(jobIndex, "")
	if err := new(Shard).Set("/8"); err == nil || (Shard{}).Check() != nil {
		t.Errorf("outside of a Job: got error %v of /8, want one, and %v without --shard, want none", err, (Shard{}).Check())
	}
}

// Each repository is in exactly one shard, and shards have about the same size. With one more
// shard, repositories move only to that one.
func TestShardsArePartsOfTheWhole(t *testing.T) {
	t.Parallel()
	const repositories, count = 4000, 8
	moved := 0
	sizes := make([]int, count)
	for n := range repositories {
		place := fmt.Sprintf("registry.example.com/team/app%d", n)
		in := shardsOf(place, count)
		if len(in) != 1 {
			t.Fatalf("%s: got it in shards %v, want one", place, in)
		}
		sizes[in[0]]++
		if now := shardsOf(place, count+1); now[0] != in[0] {
			moved++
			if now[0] != count {
				t.Errorf("%s: got it moved from %d to %d, want only the new shard %d", place, in[0], now[0], count)
			}
		}
	}
	if least, most := slices.Min(sizes), slices.Max(sizes); least < repositories/count*3/4 || most > repositories/count*5/4 {
		t.Errorf("got sizes %v, want each about %d", sizes, repositories/count)
	}
	if moved == 0 || moved > 2*repositories/count {
		t.Errorf("one more shard: got %d of %d moved, want about %d", moved, repositories, repositories/(count+1))
	}
}

func shardsOf(place string, count int) (in []int) {
	for i := range count {
		if (Shard{i, count}).has(place) {
			in = append(in, i)
		}
	}
	return in
}

// What is signed in one place is the work of one machine, however its name is written and wherever
// its images were before.
func TestShardsKeepTogetherWhatMeetsInOnePlace(t *testing.T) {
	t.Parallel()
	moves, err := parseMirrors([]string{"docker.io/acme/* -> reg.example.com/m/*"})
	if err != nil {
		t.Fatal(err)
	}
	f := &Session{Servers: &Servers{}, Scope: (&selection{moves: moves}).scope()}
	for _, names := range [][2]string{{"reg.example.com/m/app", "docker.io/acme/app"}, {"REG.example.com/app", "reg.example.com:443/app"}} {
		var guns []dct.GUN
		for _, name := range names {
			gun, err := dct.ParseGUN(name)
			if err != nil {
				t.Fatal(err)
			}
			guns = append(guns, gun)
		}
		for i := range 16 {
			if got := (Shard{i, 16}).of(slices.Clone(guns), f.canonical); len(got) == 1 {
				t.Errorf("%v: got %v alone in shard %d, want both or none", names, got, i)
			}
		}
	}
	// What only a ledger has is in its shard, whatever the place is now.
	app, err := dct.ParseGUN("docker.io/acme/app")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		sel := &selection{shard: Shard{i, 16}, recorded: map[dct.GUN][]string{app: {"old.example.com/app"}}}
		if got := sel.part(nil, sel.onlyRecorded(nil), f.canonical); !slices.Equal(got, []dct.GUN{app}) {
			t.Errorf("shard %d with %s in its ledger: got %v, want it", i, app, got)
		}
	}
	a, b := Shard{0, 4}, Shard{0, 5}
	one, _ := dct.ParseGUN("reg.example.com/one")
	two, _ := dct.ParseGUN("reg.example.com/two")
	same := a.campaign("x", []dct.GUN{one, two}, f.canonical)
	if got := (Shard{3, 4}).campaign("x", []dct.GUN{two, one}, f.canonical); got != same {
		t.Errorf("another shard of the same repositories: got campaign %s, want %s", got, same)
	}
	for why, got := range map[string]string{
		"another number of shards": b.campaign("x", []dct.GUN{one, two}, f.canonical),
		"another question":         a.campaign("y", []dct.GUN{one, two}, f.canonical),
		"one repository less":      a.campaign("x", []dct.GUN{one}, f.canonical),
	} {
		if got == same {
			t.Errorf("%s: got the same campaign, want another", why)
		}
	}
}

// In the later passes of a watch, too, no image is the work of two machines.
func TestWatchesKeepToTheirShard(t *testing.T) {
	t.Parallel()
	sel, err := (&SelectOptions{Discover: discoverChangefeed}).selectOf([]string{"reg.example.com/one", "reg.example.com/two", "reg.example.com/**"}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := state.Open(filepath.Join(t.TempDir(), "ledger.db"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	key := state.Key{Repository: "reg.example.com/three", Digest: "sha256:" + strings.Repeat("1", 64), KeyName: "k"}
	if _, err := ledger.Plan([]state.Item{{Key: key, GUN: key.Repository}}); err != nil {
		t.Fatal(err)
	}
	in := map[string]int{}
	for i := range 4 {
		sel.shard = Shard{i, 4}
		f := &Session{Servers: &Servers{}, Scope: sel.scope(), Shard: sel.shard}
		if err := f.AddUnfinished(ledger, sel); err != nil {
			t.Fatal(err)
		}
		for _, gun := range f.GUNs {
			in[gun.String()]++
		}
	}
	for _, name := range []string{"one", "two", "three"} {
		if n := in["reg.example.com/"+name]; n != 1 {
			t.Errorf("%s: got it in %d shards, want one", name, n)
		}
	}
}

func TestLedgersAreOfOneShard(t *testing.T) {
	t.Parallel()
	of := func(shard string) *state.Fingerprint { return &state.Fingerprint{Shard: shard} }
	for _, c := range []struct {
		shard Shard
		known *state.Fingerprint
		good  bool
	}{
		{Shard{}, nil, true}, {Shard{0, 2}, nil, true}, {Shard{}, of(""), true}, {Shard{0, 2}, of("0/2"), true},
		{Shard{1, 2}, of("0/2"), false}, {Shard{0, 4}, of("0/2"), false}, {Shard{}, of("0/2"), false}, {Shard{0, 2}, of(""), false},
	} {
		if err := c.shard.CheckLedger(c.known); (err == nil) != c.good {
			t.Errorf("shard %q, ledger of %v: got error %v, want one: %v", c.shard, c.known, err, !c.good)
		}
	}
}
