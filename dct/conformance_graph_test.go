package dct

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A graph is a set of delegations, each with the beginnings of the names it may sign.
type graph struct {
	delegations []edge
	asked       []string // beyond the top level, in order
	refused     string   // the role whose file is refused, if any
}

type edge struct {
	parent, role, path string
}

// In Notary a role's name is its path from targets, so each role has one possible parent;
// it walks breadth first, not depth first; and this package fetches every published role,
// whether its paths match or not, because one that does not verify must be noticed.
func TestConformanceGraphTraversal(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]graph{
		"basic-delegation":                                    {delegations: edges("a"), asked: rolesOf("a")},
		"single-level-delegations":                            {delegations: edges("a", "b"), asked: rolesOf("a", "b")},
		"two-level-delegations":                               {delegations: edges("a", "b", "b/c"), asked: rolesOf("a", "b", "b/c")},
		"two-level-test-DFS-order-of-traversal":               {delegations: edges("a", "b", "a/c", "a/d"), asked: rolesOf("a", "b", "a/c", "a/d")},
		"three-level-delegation-test-DFS-order-of-traversal":  {delegations: edges("a", "b", "a/c", "a/c/d"), asked: rolesOf("a", "b", "a/c", "a/c/d")},
		"two-level-ignores-all-branches-not-matching-paths":   {delegations: edges("a=py-", "b", "a/c"), asked: rolesOf("a", "b", "a/c")},
		"three-level-ignores-all-branches-not-matching-paths": {delegations: edges("a", "b", "a/c=py-", "a/c/d"), asked: rolesOf("a", "b", "a/c", "a/c/d")},
		"cyclic-graph":                                        {delegations: append(edges("a", "b", "b/c", "b/c/d"), edge{"targets/b/c/d", "targets/b", ""}), refused: "targets/b/c/d"},
		"two-roles-delegating-to-a-third":                     {delegations: append(edges("a", "b", "b/c"), edge{"targets/a", "targets/b/c", ""}), refused: "targets/a"},
		"two-roles-delegating-to-a-third-different-paths":     {delegations: append(edges("a", "b", "b/c"), edge{"targets/a", "targets/b/c", "py-"}), refused: "targets/a"},
		"a role that delegates to itself":                     {delegations: append(edges("a"), edge{"targets/a", "targets/a", ""}), refused: "targets/a"},
		"a role that delegates to targets":                    {delegations: append(edges("a"), edge{"targets/a", "targets", ""}), refused: "targets/a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, grow(t, g.delegations))
			if g.refused != "" {
				c.refuses(ErrRefused, g.refused)
				return
			}
			c.accepts()
			wantAsked(t, c.m, append(slices.Clone(topLevel), g.asked...)...)
		})
	}
}

// edges are delegations in a notation of their own: role=path, without targets/.
func edges(short ...string) []edge {
	var all []edge
	for _, s := range short {
		role, path, _ := strings.Cut("targets/"+s, "=")
		all = append(all, edge{parentRole(role), role, path})
	}
	return all
}

func rolesOf(short ...string) []string {
	var all []string
	for _, e := range edges(short...) {
		all = append(all, e.role)
	}
	return all
}

// grow publishes a repository with these delegations, even such as the grammar forbids.
func grow(t *testing.T, delegations []edge) *mint {
	t.Helper()
	m := newMint(t)
	published := []string{"targets"}
	for _, e := range delegations {
		if e.parent != parentRole(e.role) || e.role == "targets" {
			m.declare(e.parent, e.role)
			continue
		}
		m.assign(e.role, 1, m.key())
		m.entry(e.role)["paths"] = []any{e.path}
		m.begin(e.role)
		published = append(published, e.role)
	}
	m.publish(published...)
	return m
}

// Names here are tags, so what the original puts behind slashes stands behind dashes, and
// its wildcards are beginnings. A name is found if docker's walk finds it; that a signer's
// word is not enough for docker is another matter, and tested in trusted_test.go.
func TestConformanceTargetfileSearch(t *testing.T) {
	t.Parallel()
	m := grow(t, append(edges("a=doc-", "b=rel-", "b/c=rel-x-", "b/d=rel-y-", "b/e=doc-"), edge{"targets", "targets/f", ""}))
	for tag, role := range map[string]string{
		"targetfile": "targets", "doc-readme": "targets/a", "rel-x-v1": "targets/b/c", "rel-y-v1": "targets/b/d",
		"rel-z-v1": "targets/b/d", "other": "targets/a", "doc-wide": "targets/b/e",
	} {
		m.list(role, tag, "a1")
	}
	m.publish("targets", "targets/a", "targets/b/c", "targets/b/d", "targets/b/e")
	got := newClient(t, m).accepts()
	for name, c := range map[string]struct{ tag, want string }{
		"no delegations":                {"targetfile", "targetfile a1 targets legacy-targets"},
		"targetpath matches wildcard":   {"doc-readme", "doc-readme signer-only targets/a"},
		"targetpath with separators x":  {"rel-x-v1", "rel-x-v1 signer-only targets/b/c"},
		"targetpath with separators y":  {"rel-y-v1", "rel-y-v1 signer-only targets/b/d"},
		"not delegated by the last":     {"rel-z-v1", "rel-z-v1 unreachable-target targets/b/d"},
		"not delegated by the only":     {"other", "other unreachable-target targets/a"},
		"not delegated by all in chain": {"doc-wide", "doc-wide unreachable-target targets/b/e"},
	} {
		if !slices.Contains(strings.Split(show(got), "\n"), c.want) {
			t.Errorf("%s: want %s in\n%s", name, c.want, show(got))
		}
	}
}

func TestConformanceDelegations(t *testing.T) {
	t.Parallel()
	const role = "targets/releases"
	conform(t, map[string]conformanceCase{
		// Whoever holds the snapshot key can do this to a client that knows nothing: the role
		// looks as if it was never published. Nothing in targets counts without a person's word.
		"delegation_not_in_snapshot": func(t *testing.T, c *tufClient) {
			delete(c.m.meta("snapshot"), role)
			c.m.publish()
			c.refuses(ErrIncomplete, role)
			wantAsked(t, c.m, topLevel...)
			c.reader.AllowDegraded = true
			if target := c.accepts().Targets()[0]; !slices.Contains(target.Flags(), FlagDegraded) {
				t.Errorf("target has flags %v", target.Flags())
			}
		},
		"cached_role_is_verified_against_current_delegator": func(_ *testing.T, c *tufClient) {
			c.accepts()
			c.m.assign(role, 1, c.m.key())
			c.m.publish("targets") // its file, unchanged, has the old key's signature
			c.refuses(ErrRefused, role)
		},
		"delegation 404": func(_ *testing.T, c *tufClient) {
			delete(c.m.files, role)
			c.refuses(ErrIncomplete, role)
		},
		"unsigned delegation": func(_ *testing.T, c *tufClient) {
			c.m.keys[role] = nil
			c.m.publish(role)
			c.refuses(ErrRefused, role)
		},
		"delegation signed by targets": func(_ *testing.T, c *tufClient) {
			c.m.keys[role] = c.m.keys["targets"]
			c.m.publish(role)
			c.refuses(ErrRefused, role)
		},
		"delegation given as another": func(_ *testing.T, c *tufClient) {
			c.m.assign("targets/a", 1, c.m.key())
			c.m.put("targets/a", c.m.files[role])
			c.m.vouch("targets/a")
			c.m.publish("targets")
			c.refuses(ErrRefused, "targets/a")
		},
		// One key for two roles: nothing in a file says which of them it is, so each can
		// stand for the other. The owner chose that by the key.
		"targets given as delegation of the same key": func(t *testing.T, c *tufClient) {
			c.m.assign("targets/a", 1, c.m.keys["targets"][0])
			c.m.publish("targets")
			c.m.put("targets/a", c.m.files["targets"])
			c.m.vouch("targets/a")
			c.refuses(ErrRefused, "targets/a") // for the delegations in it, which are not its own
		},
		"a thousand roles and one": func(t *testing.T, c *tufClient) {
			for i := range 1001 {
				c.m.declare("targets", fmt.Sprint("targets/r", i))
			}
			c.m.publish("targets")
			c.refuses(ErrRefused, "targets")
		},
	}, role)
}
