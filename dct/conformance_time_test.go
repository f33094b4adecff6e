package dct

import (
	"testing"
	"time"
)

// inDays is the time some days from now, as metadata writes it.
func inDays(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }

func (m *mint) expire(role string, n int) { m.docs[role]["expires"] = inDays(n) }

func TestConformanceExpiration(t *testing.T) {
	t.Parallel()
	cases := map[string]conformanceCase{
		"test_expired_local_root": func(t *testing.T, c *tufClient) {
			c.m.expire("root", -1)
			c.m.publish("root")
			c.known.Root = c.m.files["root"]
			c.refuses(ErrExpired, "root")
			c.m.expire("root", 30)
			c.m.publish("root")
			wantVersions(t, c.accepts(), map[string]int{"root": 3})
		},
		"test_expired_metadata": func(t *testing.T, c *tufClient) {
			c.m.expire("timestamp", 7)
			c.m.publish()
			c.accepts()
			c.reader.At = time.Now().AddDate(0, 0, 18)
			c.refuses(ErrExpired, "timestamp")
			c.m.expire("timestamp", 21)
			c.m.publish("targets")
			wantVersions(t, c.accepts(), map[string]int{"targets": 2, "timestamp": 3, "snapshot": 3})
		},
	}
	for _, role := range topLevel {
		cases["test_"+role+"_expired"] = func(_ *testing.T, c *tufClient) {
			c.accepts()
			c.m.expire(role, -5)
			c.m.publish(toPublish(role)...)
			c.refuses(ErrExpired, role)
		}
	}
	conform(t, cases)
}

// In the original the artifact is not found and other roles live on. Here the repository
// fails, because an older digest in another role would be the answer.
func TestConformanceDelegatedExpiration(t *testing.T) {
	t.Parallel()
	const role = "targets/releases"
	conform(t, map[string]conformanceCase{
		"test_delegated_targets_expired": func(_ *testing.T, c *tufClient) {
			c.m.expire(role, -1)
			c.m.publish(role)
			c.refuses(ErrExpired, role)
		},
		"test_expired_local_delegated_targets": func(_ *testing.T, c *tufClient) {
			c.m.expire(role, 7)
			c.m.publish(role)
			c.accepts()
			c.reader.At = time.Now().AddDate(0, 0, 18)
			c.refuses(ErrExpired, role)
		},
		"test_expired_local_delegated_targets_updates": func(t *testing.T, c *tufClient) {
			c.m.expire(role, 7)
			c.m.publish(role)
			c.accepts()
			c.m.expire(role, 21)
			c.m.publish(role)
			c.reader.At = time.Now().AddDate(0, 0, 18)
			wantVersions(t, c.accepts(), map[string]int{role: 3})
		},
	}, role)
}

func TestConformanceRollback(t *testing.T) {
	t.Parallel()
	back := func(c *tufClient, role string, to int) {
		c.m.docs[role]["version"] = to - 1 // publishing makes it the next
		c.m.publish(toPublish(role)...)
	}
	// Spec: after a key rotation, versions begin anew. Here: versions that were seen are
	// floors, and no rotation lowers them; whoever holds the ledger has to drop it knowingly.
	recovery := func(role string, rotate ...string) conformanceCase {
		return func(t *testing.T, c *tufClient) {
			back(c, role, 99999)
			wantVersions(t, c.accepts(), map[string]int{role: 99999})
			for _, r := range rotate {
				c.m.assign(r, 1, c.m.key())
			}
			c.m.publish("root")
			back(c, role, 1)
			c.refuses(ErrRefused, role)
			wantVersions(t, newClient(t, c.m).accepts(), map[string]int{role: 1})
		}
	}
	conform(t, map[string]conformanceCase{
		"test_new_timestamp_version_rollback": func(_ *testing.T, c *tufClient) {
			c.m.publish()
			c.accepts()
			back(c, "timestamp", 1)
			c.refuses(ErrRefused, "timestamp")
		},
		// Here: the server gives the old snapshot under the new one's hash.
		"test_simple_snapshot_rollback": func(_ *testing.T, c *tufClient) {
			old := c.m.files["snapshot"]
			c.m.publish()
			c.accepts()
			c.m.files["snapshot"] = old
			c.refuses(ErrRefused, "snapshot")
		},
		// Notary always lists hashes, so this is the case with hashes; there is none without.
		"test_snapshot_rollback[with hashes]": func(_ *testing.T, c *tufClient) {
			c.m.publish()
			c.accepts()
			back(c, "snapshot", 1)
			c.refuses(ErrRefused, "snapshot")
		},
		"test_targets_rollback[with hashes]": func(_ *testing.T, c *tufClient) {
			c.m.publish("targets")
			c.accepts()
			back(c, "targets", 1)
			c.refuses(ErrRefused, "targets")
		},
		"delegation rollback": func(_ *testing.T, c *tufClient) {
			c.m.publish("targets/releases")
			c.accepts()
			back(c, "targets/releases", 1)
			c.refuses(ErrRefused, "targets/releases")
		},
		"role removal[targets]": func(_ *testing.T, c *tufClient) {
			c.accepts()
			delete(c.m.meta("snapshot"), "targets")
			c.m.publish()
			c.refuses(ErrRefused, "snapshot")
		},
		"role removal[delegation]": func(_ *testing.T, c *tufClient) {
			c.accepts()
			delete(c.m.meta("snapshot"), "targets/releases")
			c.m.publish()
			c.refuses(ErrRefused, "targets/releases")
		},
		"test_new_targets_fast_forward_recovery":   recovery("targets", "snapshot"),
		"test_new_snapshot_fast_forward_recovery":  recovery("snapshot", "snapshot", "timestamp"),
		"test_new_timestamp_fast_forward_recovery": recovery("timestamp", "timestamp"),
	}, "targets/releases")
}
