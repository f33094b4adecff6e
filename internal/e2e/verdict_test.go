package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// verdict is what dct2notation says about a repository.
type verdict struct {
	refused string // class of the reason; empty: it was read
	names   map[string]choice
}

// choice is what dct2notation says about a name: an image, or why there is none.
type choice struct {
	image, role    string
	signers, flags []string
	class          string // of the finding
}

// lines returns lines for comparison with a shape's.
func (v verdict) lines() []string {
	if v.refused != "" {
		return []string{"refused: " + v.refused}
	}
	var lines []string
	for name, c := range v.names {
		lines = append(lines, name+": "+c.String())
	}
	return lines
}

func (c choice) String() string {
	if c.image == "" {
		return strings.TrimSpace(c.class + " " + c.role)
	}
	s := c.image + " " + c.role
	if len(c.signers) > 0 {
		s += " by " + strings.Join(c.signers, ", ")
	}
	if len(c.flags) > 0 {
		s += fmt.Sprintf(" %v", c.flags)
	}
	return s
}

// inTargets returns the names whose image comes from the targets role, sorted.
func (v verdict) inTargets() []string {
	var names []string
	for name, c := range v.names {
		if c.image != "" && c.role == "targets" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const nothing = "nothing"

// pulled returns the choice in docker pull's form.
func (c choice) pulled() string {
	if c.image == "" {
		return nothing
	}
	return c.image
}

// listed returns the choice in notary list's form. Notary lists a signer's tags with the signer's
// role, and docker asks for the role.
func (c choice) listed() string {
	switch {
	case c.image != "":
		return c.image + " " + c.role
	case c.class == dct.SignerOnly || c.class == dct.Shadowed:
		return "in " + c.role
	}
	return nothing
}

// shown returns the choice in docker trust inspect's form.
func (c choice) shown() string {
	switch {
	case c.image == "":
		return nothing
	case len(c.signers) == 0:
		return c.image + " by Repo Admin"
	}
	return c.image + " by " + strings.Join(c.signers, ", ")
}

// refusals are the beginnings of docker's messages for our classes.
var refusals = map[string]string{
	dct.SignerOnly:        "No trust data for",
	dct.Shadowed:          "No trust data for",
	dct.UnreachableTarget: "No valid trust data for",
}

// ours asks the built program what it would sign.
func (a *author) ours(t testing.TB, pinned string, key *pki.Identity) verdict {
	t.Helper()
	h := newHome(t)
	if pinned == byDocker {
		h = a.reader.home
	}
	h.addKey(t, "release", key)
	args := []string{"plan", "-o", "json", "--notary-server", a.reader.url, "--ca-file", a.reader.tls.CAFile, "--plain-http"}
	if pins := a.pinFile(pinned); pins != "" {
		args = append(args, "--trust-pinning", pins)
	}
	r := h.run(t, "dct2notation", append(args, a.gun)...)
	var plan struct {
		Repositories []planned `json:"repositories"`
	}
	decode(t, r, &plan)
	if len(plan.Repositories) != 1 {
		t.Fatalf("got %d repositories in the plan, want 1: %s", len(plan.Repositories), r)
	}
	v := plan.Repositories[0].verdict(a.names())
	if (v.refused == "") != (r.code == 0) {
		t.Errorf("got exit code %d, want 0 if not refused: %q: %s", r.code, v.refused, r)
	}
	a.sameFromSnapshot(t, h, args, r)
	return v
}

// sameFromSnapshot saves the trust data and plans again from the saved data: every item is the
// same. What is refused from the server cannot be saved either.
func (a *author) sameFromSnapshot(t testing.TB, h *home, plan []string, fromServer result) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "saved")
	var flags []string // those for the source of trust data, not for the output of a plan
	for i := 3; i < len(plan); i++ {
		flags = append(flags, plan[i])
	}
	saved := h.run(t, "dct2notation", append(append([]string{"snapshot", "-O", dir}, flags...), a.gun)...)
	if (saved.code == 0) != (fromServer.code == 0) {
		t.Errorf("saving: got exit code %d, want it as of plan, %d: %s", saved.code, fromServer.code, saved)
	}
	if saved.code != 0 {
		return
	}
	again := h.run(t, "dct2notation", append(append(slices.Clone(plan), "--source", "snapshot:"+dir), a.gun)...)
	var want, got struct {
		Repositories json.RawMessage `json:"repositories"`
	}
	decode(t, fromServer, &want)
	decode(t, again, &got)
	if !bytes.Equal(want.Repositories, got.Repositories) {
		t.Errorf("the plan from the snapshot: got\n%s\nwant, from the server\n%s", again, want.Repositories)
	}
}

// planned is a repository in the plan.
type planned struct {
	Error *struct {
		Class string `json:"class"`
	} `json:"error"`
	Items []struct {
		Digest string `json:"digest"`
		Action string `json:"action"`
		Tags   []struct {
			Tag     string   `json:"tag"`
			Role    string   `json:"role"`
			Signers []string `json:"signers"`
			Flags   []string `json:"flags"`
		} `json:"tags"`
	} `json:"items"`
	Findings []struct {
		Tag   string `json:"tag"`
		Role  string `json:"role"`
		Class string `json:"class"`
	} `json:"findings"`
}

func (p planned) verdict(images map[string]string) verdict {
	v := verdict{names: map[string]choice{}}
	if p.Error != nil {
		v.refused = p.Error.Class
	}
	for _, it := range p.Items {
		for _, tag := range it.Tags {
			image := nameOf(strings.TrimPrefix(it.Digest, "sha256:"), images)
			if it.Action != "sign" && image != "gone" {
				image += ", but " + it.Action
			}
			c := choice{image: image, role: tag.Role, flags: tag.Flags}
			for _, signer := range tag.Signers {
				c.signers = append(c.signers, strings.TrimPrefix(signer, "targets/"))
			}
			slices.Sort(c.signers)
			v.names[tag.Tag] = c
		}
	}
	for _, f := range p.Findings {
		c := choice{class: f.Class}
		if f.Class == dct.SignerOnly || f.Class == dct.Shadowed {
			c.role = f.Role // the role at which docker's search ends
		}
		v.names[f.Tag] = c
	}
	return v
}
