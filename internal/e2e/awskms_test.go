package e2e

import (
	"crypto"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/notation-awskms/localkms"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestAWSKMSEndToEnd signs with keys that never leave a KMS, through the plugin as the real notation
// command installs it: P-256 by local-kms, RSA by a stand-in (see package localkms).
func TestAWSKMSEndToEnd(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, nil)
	registry := startOlareg(t)
	for _, a := range []pki.Algorithm{pki.EC256, pki.RSA3072} {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			s := newStory(t, notary, registry, "awskms-"+map[pki.Algorithm]string{pki.EC256: "ec", pki.RSA3072: "rsa"}[a])
			kms, arn, public := startKMS(t, a)
			s.key = s.installAWSKMS(t, kms, arn, public, s.ca)
			kms.Hook(func(q localkms.Request) string {
				if q.Action == "Sign" && q.Nth%2 == 0 {
					return "ThrottlingException"
				}
				return ""
			})
			s.tell(t)
			kms.Hook(nil)
			s.notationSigns(t)
		})
	}
}

// TestAWSKMSKilledAndResumed kills a run in the middle of its key operations and resumes it while
// KMS throttles. The real notation verify judges each image.
func TestAWSKMSKilledAndResumed(t *testing.T) {
	t.Parallel()
	const items, killedAt = 24, 10
	k := newKilling(t, killingWorld{program: "dct2notation", referrers: true, items: items})
	kms, arn, public := startKMS(t, pki.EC256)
	ca := newAuthority(t, "ours")
	k.home.trust(t, ca)
	k.key = k.installAWSKMS(t, kms, arn, public, ca)
	started := make(chan *os.Process, 1)
	kms.Hook(func(q localkms.Request) string {
		if q.Action == "Sign" && q.Nth == killedAt {
			_ = (<-started).Kill() // it cannot have ended: it waits for this answer
		}
		return ""
	})
	args := k.line("run", "--workers", strconv.Itoa(killWorkers), k.trust[0].GUN(), k.trust[1].GUN())
	c := k.command("dct2notation", args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	started <- c.Process
	if err := c.Wait(); c.ProcessState.Exited() {
		t.Fatalf("got the run at its end (%v), want it killed", err)
	}
	before := kms.Count("Sign")

	kms.Hook(func(q localkms.Request) string {
		if q.Action == "Sign" && q.Nth%4 == 0 {
			return "ThrottlingException"
		}
		return ""
	})
	k.must(t, "dct2notation", args...)
	// Besides the images, each run proves its key, and the killed run may have had one operation in
	// each worker.
	if n := kms.Count("Sign"); n > items+2+killWorkers || n <= before {
		t.Errorf("got %d key operations, %d of them before the kill, want at most %d", n, before, items+2+killWorkers)
	}
	for _, image := range k.vouched {
		reference := k.registry.host + "/" + image.repository + "@" + image.digest
		if r := k.notationVerify(t, reference); r.code != 0 {
			t.Errorf("notation: got exit code %d, want 0: %s", r.code, r)
		}
		if n := k.count(image); n != 1 {
			t.Errorf("%s: got %d signatures, want 1", reference, n)
		}
	}
	for _, image := range k.unsigned {
		if n := k.count(image); n != 0 {
			t.Errorf("%s: got %d signatures, want none", image, n)
		}
	}
	k.judge()
}

func startKMS(t *testing.T, a pki.Algorithm) (kms *localkms.Server, arn string, public crypto.PublicKey) {
	t.Helper()
	kms = localkms.Start(t.TempDir())
	t.Cleanup(kms.Close)
	arn, public, err := kms.CreateKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return kms, arn, public
}

// installAWSKMS installs the plugin with the real notation command and returns the flags that name
// the key.
func (h *home) installAWSKMS(t *testing.T, kms *localkms.Server, arn string, public crypto.PublicKey, ca *pki.Identity) []string {
	t.Helper()
	h.must(t, "notation", "plugin", "install", "--file", program("notation-awskms"))
	id, err := ca.Issue("release", pki.Public(public))
	if err != nil {
		t.Fatal(err)
	}
	chain := h.path("awskms", "chain.pem")
	servertest.WriteFile(t, chain, id.ChainPEM())
	h.extra = slices.Concat(h.extra, kms.Env())
	return []string{"--plugin", "awskms", "--id", arn, "--plugin-config", "ca_certs=" + chain}
}
