package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/dir"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// Shell completion uses fixed lists, the configuration and notation's keys.
func TestValuesAreCompleted(t *testing.T) { // not parallel: notation's folder is a package variable
	was := dir.UserConfigDir
	dir.UserConfigDir = t.TempDir()
	t.Cleanup(func() { dir.UserConfigDir = was })
	at := func(name string) string { return filepath.Join(dir.UserConfigDir, name) }
	config := at("migration.yaml")
	must(t, os.WriteFile(config, []byte("version: 1\nrepositories: [registry.example.com/a, registry.example.com/b]\n"), 0o600))
	broken := at("broken.yaml")
	must(t, os.WriteFile(broken, []byte("version: 7\n"), 0o600))
	must(t, os.WriteFile(at("signingkeys.json"), []byte(`{"keys":[{"name":"release","keyPath":"k","certPath":"c"},{"name":"alice","keyPath":"k","certPath":"c"}]}`), 0o600))

	for _, c := range []struct{ typed, want string }{
		{"verify -o ", "csv failures html json jsonl junit markdown prometheus text"},
		{"ready -o ", "text json markdown"},
		{"plan --output ", "text json"},
		{"version -o ", "text json"},
		{"run --report ", "csv= failures= html= json= jsonl= junit= markdown= prometheus= text="},
		{"run --key ", "release alice"},
		{"run --config " + config + " ", "registry.example.com/a registry.example.com/b"},
		{"run --config " + config + " registry.example.com/a ", "registry.example.com/b"},
		{"run --config " + broken + " ", ""},
		{"policy ", "notation flux ratify ratify-v2 kyverno connaisseur github-actions"},
		{"policy flux ", "notation ratify ratify-v2 kyverno connaisseur github-actions"},
		{"policy --stage ", "audit enforce"},
		{"plan --discover ", "list source docker-trust catalog changefeed"},
		{"plan --allow-expired ", "root-cert root timestamp snapshot targets delegations"},
		{"ready --product ", "acr docker-hub harbor msr self-hosted"},
		{"report --last ", "run verify"},
		{"plan --color ", "auto always never"},
		{"pins --config " + config + " ", "registry.example.com/a registry.example.com/b"},
	} {
		var out, messages bytes.Buffer
		args := append([]string{"__complete"}, strings.Split(c.typed, " ")...)
		if code := Main(t.Context(), nil, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &messages}); code != 0 {
			t.Errorf("%q: got exit code %d, want 0: %s", c.typed, code, messages.String())
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: got %q, want %q", c.typed, strings.Join(got, " "), c.want)
		}
	}
}
