package e2e

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestChoicesEqualThoseOfTheRealTools publishes repositories of every shape. It compares, name by
// name, what dct2notation chooses and refuses with what the notary command lists, what docker trust
// inspect shows and what docker pull requests. If they differ, the shape says so, and dct/README.md
// says why.
func TestChoicesEqualThoseOfTheRealTools(t *testing.T) {
	t.Parallel()
	notary := startNotary(t, servertest.NewTLS(t))
	registry := startDockerRegistry(t, nil, "", "")
	key := issue(t, newAuthority(t, "ours"), "release", pki.EC256)
	for name, shape := range shapes {
		if shape.docker && !hasDocker {
			continue // run.sh reports it
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t, notary, registry, repositoryName(name))
			a.publish(shape)
			ours := a.ours(t, shape.pinned, key)
			compare(t, "dct2notation says", ours.lines(), lines(shape.want))
			compare(t, "the real tools differ", a.differences(shape.pinned, ours), lines(shape.differs))
		})
	}
}

// repositoryName derives a repository's name from a shape's.
func repositoryName(shape string) string {
	return strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(shape)
}

// differences returns the real tools' answers that differ from ours.
func (a *author) differences(pinned string, ours verdict) []string {
	a.t.Helper()
	var lines []string
	differ := func(tool, name, says, want string) {
		if says != want {
			lines = append(lines, tool+" "+name+": "+says)
		}
	}
	pins, names := a.pinFile(pinned), a.names()
	list := a.reader.list(pins)
	for _, name := range union(keys(list), keys(ours.names)) {
		differ("notary list", name, listed(list[name], names), ours.names[name].listed())
	}
	for _, name := range some(ours.inTargets()) {
		differ("notary lookup", name, pulled(a.reader.lookup(pins, name), names), ours.names[name].image)
	}
	if !hasDocker {
		return lines
	}
	shown := a.reader.inspect()
	for _, name := range union(keys(shown), keys(ours.names)) {
		differ("docker trust inspect", name, inspected(shown[name], names), ours.names[name].shown())
	}
	for _, name := range some(union(keys(list), keys(shown), keys(ours.names))) {
		digest, refusal := a.reader.pull(name)
		differ("docker pull", name, pulled(digest, names), ours.names[name].pulled())
		if words := refusals[ours.names[name].class]; digest == "" && !strings.HasPrefix(refusal, words) {
			a.t.Errorf("%s is %s to us, and docker says: %s", name, ours.names[name], refusal)
		}
	}
	return lines
}

// some leaves out most of a large number of names, since a command is run for each.
func some(names []string) []string {
	var few []string
	for i := 0; i < len(names); i += 1 + len(names)/20 {
		few = append(few, names[i])
	}
	return few
}

func listed(r row, images map[string]string) string {
	switch {
	case r.digest == "":
		return nothing
	case r.by != "targets" && r.by != "targets/releases":
		return "in " + r.by
	}
	return nameOf(r.digest, images) + " " + r.by
}

func inspected(rows []row, images map[string]string) string {
	var all []string
	for _, r := range rows {
		if r.digest != "" {
			all = append(all, nameOf(r.digest, images)+" by "+r.by)
		}
	}
	if len(all) == 0 {
		return nothing
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func pulled(digest string, images map[string]string) string {
	if digest == "" {
		return nothing
	}
	return nameOf(digest, images)
}

// nameOf returns the digest itself if it is not one of the shape's images.
func nameOf(digest string, images map[string]string) string { return cmp.Or(images[digest], digest) }

// lines returns a shape's lines, without docker's if there is no docker.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && (hasDocker || !strings.HasPrefix(line, "docker ")) {
			all = append(all, line)
		}
	}
	return all
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// union returns the names that any of these have, sorted.
func union(all ...[]string) []string {
	names := slices.Concat(all...)
	slices.Sort(names)
	return slices.Compact(names)
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }
