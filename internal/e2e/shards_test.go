package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/registrytest"
)

const (
	shardCount        = 8
	shardRepositories = 160
	shardKills        = 24
	shardKillFrom     = 200 * time.Millisecond
	shardKillTo       = 2 * time.Second
)

// TestShardsAreTogetherOneRun does what the Pods of an Indexed Job do. Eight processes,
// distinguished only by JOB_COMPLETION_INDEX, sign the images of two registries with one key. They
// are killed at random and restarted. In the end every image has one signature, and the merged
// results are those of one process. DCT2NOTATION_E2E_SHARDS asks for more repositories.
func TestShardsAreTogetherOneRun(t *testing.T) {
	t.Parallel()
	repositories := number(t, "DCT2NOTATION_E2E_SHARDS", shardRepositories)
	notary, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(notary.Close)
	h := newHome(t)
	ca := newAuthority(t, "ours")
	h.trust(t, ca)
	kms, key := installKMS(t, h, issue(t, ca, "release", pki.EC256), kmstest.Behaviour{Delay: map[string]int{"generate-signature": signatureTime}})
	var stores []*registrytest.Registry
	for _, referrers := range []bool{true, false} {
		store, err := registrytest.Start(registrytest.Options{Referrers: referrers})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		stores = append(stores, store)
	}
	pins := map[string][]string{}
	images := map[*registrytest.Registry][]placed{}
	var names []string
	for n := range repositories {
		store := stores[n%len(stores)]
		name := "team/app" + strconv.Itoa(n)
		repo, err := notary.NewRepository(store.Host() + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		image, err := store.PutImage(name, "v1", name)
		if err == nil {
			err = repo.Sign("v1", image.Digest.Encoded(), image.Size)
		}
		if err == nil {
			err = repo.Publish()
		}
		if err != nil {
			t.Fatal(err)
		}
		pins[repo.GUN()], names = repo.RootKeyIDs(), append(names, repo.GUN())
		images[store] = append(images[store], placed{name, image.Digest.String()})
	}
	list := h.path("repositories.txt")
	if err := os.WriteFile(list, []byte(strings.Join(names, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &migration{home: h, registry: &registry{host: stores[0].Host()}, notary: &notaryServer{url: notary.URL()}, pins: writePins(t, pins), key: key}

	// All Pods run one verb, each until it has ended by itself.
	campaign := func(verb string, kills int, args func(index string) []string) (results []string) {
		random := seed(t)
		var all sync.WaitGroup
		for i := range shardCount {
			index, random := strconv.Itoa(i), rand.New(rand.NewPCG(random.Uint64(), 0))
			folder := h.path("pods", verb+index)
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			result := filepath.Join(folder, "result.jsonl")
			results = append(results, result)
			all.Go(func() {
				for killed := 0; ; killed++ {
					line := m.line(verb, slices.Concat([]string{"--repositories-from", list, "--shard", "/" + strconv.Itoa(shardCount), "--results", "none", "--report", "jsonl=" + result}, args(index))...)
					c := m.command("dct2notation", line...)
					c.Env = append(c.Env, "JOB_COMPLETION_INDEX="+index)
					var output bytes.Buffer
					c.Stdout, c.Stderr = &output, &output
					if err := c.Start(); err != nil {
						t.Error(err)
						return
					}
					limit := 5 * time.Minute
					if killed < kills/shardCount {
						limit = shardKillFrom + time.Duration(random.Int64N(int64(shardKillTo-shardKillFrom)))
					}
					timer := time.AfterFunc(limit, func() { _ = c.Process.Kill() }) // it may have ended already
					err := c.Wait()
					timer.Stop()
					status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
					if ok && status.Signaled() && limit < time.Minute {
						continue
					}
					if err != nil {
						t.Errorf("%s of shard %s: %v\n%s", verb, index, err, &output)
					}
					return
				}
			})
		}
		all.Wait()
		return results
	}
	merged := func(results []string) string {
		return m.must(t, "dct2notation", slices.Concat([]string{"report", "--merge", "-o", "csv"}, results)...).stdout
	}

	signed := campaign("run", shardKills, func(index string) []string {
		return []string{"--workers", strconv.Itoa(killWorkers), "--state", h.path("pods", "ledger"+index+".db")}
	})
	if t.Failed() {
		return
	}
	for store, all := range images {
		for _, image := range all {
			list, err := store.Signatures(image.repository, image.digest)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != 1 {
				t.Errorf("%s: got %d signatures, want 1", image.repository, len(list))
			}
		}
	}
	calls, err := kms.Calls("generate-signature")
	if err != nil {
		t.Fatal(err)
	}
	operations := 0
	for _, c := range calls {
		if !c.Proof && c.Fault == "" {
			operations++
		}
	}
	if most := repositories + shardKills*killWorkers; operations < repositories || operations > most {
		t.Errorf("got %d key operations, want %d to %d", operations, repositories, most)
	}
	if got := strings.Count(merged(signed), ",ok,"); got != repositories {
		t.Errorf("merged runs: got %d images signed, want %d", got, repositories)
	}
	verified := campaign("verify", 0, func(index string) []string { return []string{"--ledger", h.path("pods", "ledger"+index+".db")} })
	one := m.dct2notation(t, "verify", "--repositories-from", list, "--results", "none", "-o", "csv")
	if got, want := sortedLines(merged(verified)), sortedLines(one.stdout); one.code != 0 || !slices.Equal(got, want) {
		t.Errorf("merged verifications: got %d lines, want the %d of one process, which ended with %d", len(got), len(want), one.code)
	}
	t.Logf("%d repositories, %d shards, %d kills: %d key operations", repositories, shardCount, shardKills, operations)
}

func sortedLines(text string) []string { return slices.Sorted(strings.Lines(text)) }
