package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

// Every verb, flag and key that README, the pages and the examples tell a reader to type exists.
func TestDocumentsTypeWhatExists(t *testing.T) {
	t.Parallel()
	root := NewRoot(nil, cli.Streams{})
	typed, shown := 0, 0
	for _, doc := range pages(t) {
		raw, err := os.ReadFile(doc)
		must(t, err)
		text := string(raw)
		for _, line := range ofOurs.FindAllStringSubmatch(strings.ReplaceAll(text, "\\\n", " "), -1) {
			typed++
			for _, problem := range mistyped(root, line[1]) {
				t.Errorf("%s: dct2notation %s: got %s, want what the program has", doc, line[1], problem)
			}
		}
		for _, span := range inline.FindAllStringSubmatch(text, -1) {
			for _, problem := range misnamed(root, span[1]) {
				t.Errorf("%s: `%s`: got %s, want what the program has", doc, span[1], problem)
			}
		}
		for _, block := range blocks(text) {
			if !isConfiguration(block) {
				continue
			}
			shown++
			file := filepath.Join(t.TempDir(), "migration.yaml")
			must(t, os.WriteFile(file, []byte(filled.ReplaceAllString("version: 1\n"+strings.TrimPrefix(block, "version: 1\n"), strings.Repeat("0", 64))), 0o600))
			if _, err := session.LoadConfig(verbOf(t, "plan", "--config", file)); err != nil {
				t.Errorf("%s: got error %v, want this to be a configuration:\n%s", doc, err, block)
			}
		}
	}
	if typed < 50 || shown < 4 {
		t.Errorf("got %d commands and %d configurations in the documents, want many", typed, shown)
	}
	for line, want := range map[string]int{
		"plan --config a.yaml --nosuch x": 1, "nosuch": 1, "plan -o json > plan.json": 0, "report push --key k x": 0, "run -Z": 1,
		"verify --fail-on=unsigned --watch 1h": 0, "snapshot verify --output-dir x y": 1,
	} {
		if got := mistyped(root, line); len(got) != want {
			t.Errorf("%s: got %q, want %d problems", line, got, want)
		}
	}
}

var (
	// ofOurs matches one of our command lines, in a block or in a sentence, up to where a shell
	// would end it.
	ofOurs = regexp.MustCompile("(?m)(?:^(?:    +|\\$ )(?:[A-Z_]+=\\S* )*|[`|(] ?)dct2notation ([a-z][^`|;\n)#]*)")
	inline = regexp.MustCompile("`([^`\n]+)`")
	filled = regexp.MustCompile("<[a-z ]+>") // what a reader fills in
)

// mistyped returns the parts of a command line that are neither a verb nor one of its flags.
func mistyped(root *cobra.Command, line string) (problems []string) {
	words := strings.Fields(line)
	verb, _, err := root.Find(words)
	if err != nil || verb == root {
		return []string{"the verb " + words[0]}
	}
	for _, word := range words {
		name, _, _ := strings.Cut(strings.TrimRight(strings.Trim(word, `'"`), "],.:"), "=")
		switch {
		case len(name) < 2 || name[0] != '-' || verb.Flags().Lookup(strings.TrimPrefix(name, "--")) != nil:
		case name[1] != '-' && verb.Flags().ShorthandLookup(name[1:2]) != nil:
		case name == "--help" || name == "-h":
		default:
			problems = append(problems, "the flag "+name)
		}
	}
	return problems
}

// misnamed is mistyped for code spans in sentences: a flag of some verb, or a verb with its flags.
// A span that begins with the name of another program is not ours.
func misnamed(root *cobra.Command, span string) []string {
	first, _, _ := strings.Cut(span, " ")
	if verb, _, err := root.Find([]string{first}); err == nil && verb != root && strings.Contains(span, " -") {
		return mistyped(root, span)
	}
	if !strings.HasPrefix(span, "--") || first == "--" || first == "--help" {
		return nil
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(first, "--"), "=")
	if slices.ContainsFunc(documented(root), func(verb *cobra.Command) bool { return verb.Flags().Lookup(name) != nil }) {
		return nil
	}
	return []string{"the flag --" + name}
}

// documented returns all verbs, including subcommands.
func documented(c *cobra.Command) (verbs []*cobra.Command) {
	for _, verb := range c.Commands() {
		verbs = append(append(verbs, verb), documented(verb)...)
	}
	return verbs
}

// blocks returns the indented and the fenced blocks of a document, and the whole of a YAML file.
func blocks(text string) (all []string) {
	var block []string
	fenced := false
	for _, line := range append(strings.Split(text, "\n"), "end") {
		fence := strings.HasPrefix(line, "```")
		if inside := strings.TrimPrefix(line, "    "); !fence && (fenced || inside != line || line == "" && block != nil) {
			block = append(block, map[bool]string{true: line, false: inside}[fenced])
			continue
		}
		if fence {
			fenced = !fenced
		}
		if block != nil {
			all = append(all, strings.Join(block, "\n"))
		}
		block = nil
	}
	return all
}

// isConfiguration reports whether a block is YAML with a key of ours and without a Kubernetes kind.
func isConfiguration(block string) bool {
	var all map[string]any
	if yaml.Unmarshal([]byte(block), &all) != nil {
		return false
	}
	for _, key := range []string{"repositories", "keys", "notary", "map", "source", "discover", "trust-pinning", "plugin", "key"} {
		if all[key] != nil {
			return true
		}
	}
	return false
}

// pages returns README and the pages that it links to.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{filepath.Join("..", "..", "..", "README.md")}
	must(t, filepath.WalkDir(filepath.Join("..", "..", "..", "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			all = append(all, path)
		}
		return err
	}))
	return all
}
