package dct

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The conformance tests are the cases of theupdateframework/tuf-conformance that apply to
// Notary v1, each under its original name, against repositories of which the test holds
// all keys. Where Notary's TUF differs, or our promise is stricter than the specification,
// the case says what is expected instead.
//
// Not ported:
//   - test_file_download (9): what a target points to is an image in a registry, which this
//     package does not fetch.
//   - test_static_repositories (2): recorded repositories of other formats.
//   - the terminating delegations of test_graph_traversal (2): Notary has none.
//   - hash bins and succinct roles of test_updater_delegation_graphs (4): nor these.
//   - the unsupported spec_version cases: Notary's files name no version of a specification.

type conformanceCase = func(t *testing.T, c *tufClient)

// conform runs cases, each on a repository of its own.
func conform(t *testing.T, cases map[string]conformanceCase, delegations ...string) {
	t.Helper()
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newClient(t, newMint(t, delegations...)))
		})
	}
}

var topLevel = []string{"root", "timestamp", "snapshot", "targets"}

func wantAsked(t *testing.T, m *mint, want ...string) {
	t.Helper()
	if got := m.requests(); !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

func wantVersions(t *testing.T, got *Repository, want map[string]int) {
	t.Helper()
	for role, v := range want {
		if got.Version(role) != v {
			t.Errorf("%s is of version %d, want %d", role, got.Version(role), v)
		}
	}
}

func TestConformanceBasic(t *testing.T) {
	t.Parallel()
	ones := map[string]int{"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}
	cases := map[string]conformanceCase{
		"test_basic_init_and_refresh": func(t *testing.T, c *tufClient) {
			got := c.accepts()
			wantAsked(t, c.m, topLevel...)
			wantVersions(t, got, ones)
		},
		// Here: there is no way to a target but Read, and it asks every time.
		"test_implicit_refresh": func(t *testing.T, c *tufClient) {
			c.accepts()
			wantVersions(t, c.accepts(), ones)
			wantAsked(t, c.m, topLevel...)
		},
		"test_invalid_initial_root": func(t *testing.T, c *tufClient) {
			delete(c.m.docs["root"], "version")
			c.known.Root = c.m.sign("root")
			c.refuses(ErrRefused, "root")
			wantAsked(t, c.m, "root") // which root to begin with is decided before anything else
		},
		"test_unsigned_initial_root": func(t *testing.T, c *tufClient) {
			c.known.Root = c.m.signAs(c.m.docs["root"], c.m.cert())
			c.refuses(ErrRefused, "root")
			wantAsked(t, c.m, "root")
		},
		// Here: refused, where the original wants the old timestamp to stay in use.
		"test_timestamp_content_changes": func(t *testing.T, c *tufClient) {
			c.accepts()
			c.m.docs["timestamp"]["custom"] = "changed"
			c.m.put("timestamp", c.m.sign("timestamp"))
			c.refuses(ErrRefused, "timestamp")
			wantVersions(t, newClient(t, c.m).accepts(), ones) // for those who know nothing it is as good
		},
		"test_basic_metadata_hash_support": func(t *testing.T, c *tufClient) {
			c.accepts()
			c.m.publish("targets")
			wrongHash(c.m, "snapshot", "targets")
			c.m.vouch()
			c.refuses(ErrRefused, "targets")
		},
		"snapshot hash mismatch": func(t *testing.T, c *tufClient) {
			wrongHash(c.m, "timestamp", "snapshot")
			c.m.put("timestamp", c.m.sign("timestamp"))
			c.refuses(ErrRefused, "snapshot")
		},
		// Here: the server gives the new file under the old hash.
		"test_new_targets_version_mismatch": func(t *testing.T, c *tufClient) {
			c.accepts()
			c.m.bump("targets")
			c.m.put("targets", c.m.sign("targets"))
			c.refuses(ErrRefused, "targets")
		},
		"test_new_snapshot_version_mismatch": func(t *testing.T, c *tufClient) {
			c.m.bump("snapshot")
			c.m.put("snapshot", c.m.sign("snapshot"))
			c.refuses(ErrRefused, "snapshot")
			wantAsked(t, c.m, "root", "timestamp", "snapshot", "root", "timestamp", "snapshot") // once more, in case of a publication
		},
		"url/version mismatch[root]": func(t *testing.T, c *tufClient) {
			c.m.publish("root")
			c.m.publish("root")
			c.m.files["2.root"] = c.m.files["3.root"]
			c.refuses(ErrRefused, "root")
		},
		"test_custom_fields": func(t *testing.T, c *tufClient) {
			c.accepts()
			root := c.m.docs["root"]
			root["custom-field"] = "value"
			root["keys"].(map[string]any)[c.m.pin[0]].(map[string]any)["extra-field"] = map[string]any{"a": 1, "b": 2}
			c.m.entry("root")["another-field"] = "value"
			c.m.publish("root")
			wantVersions(t, c.accepts(), map[string]int{"root": 2})
		},
		"bytes match": func(t *testing.T, c *tufClient) {
			known := c.accepts().Known()
			for _, role := range topLevel {
				sum := sha256.Sum256(c.m.files[role])
				if known.Floors[role].SHA256 != hex.EncodeToString(sum[:]) {
					t.Errorf("%s is remembered with another hash", role)
				}
			}
			if string(known.Root) != string(c.m.files["root"]) {
				t.Error("another root is remembered")
			}
		},
	}
	for _, role := range topLevel {
		cases[fmt.Sprintf("test_unsigned_metadata[%s]", role)] = func(t *testing.T, c *tufClient) {
			c.m.keys[role] = nil
			c.m.publish(toPublish(role)...)
			c.refuses(ErrRefused, role)
		}
		cases[fmt.Sprintf("wrong type[%s]", role)] = func(t *testing.T, c *tufClient) {
			c.m.docs[role]["_type"] = map[bool]string{true: "Targets", false: "Snapshot"}[role != "targets"]
			c.m.publish(toPublish(role)...)
			c.refuses(ErrRefused, role)
		}
		cases[fmt.Sprintf("404[%s]", role)] = func(t *testing.T, c *tufClient) {
			c.accepts()
			delete(c.m.files, role)
			c.refuses(ErrIncomplete, strings.TrimPrefix(role, "root")) // without a root there is nothing to name
		}
	}
	conform(t, cases)
}

// toPublish is what to publish so that a role gets a new file; snapshot and timestamp always do.
func toPublish(role string) []string {
	if role == "snapshot" || role == "timestamp" {
		return nil
	}
	return []string{role}
}

// wrongHash makes one file list another with a wrong SHA-256.
func wrongHash(m *mint, lister, listed string) {
	entry := maps.Clone(m.meta(lister)[listed].(map[string]any))
	entry["hashes"] = map[string]any{"sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	m.meta(lister)[listed] = entry
}
