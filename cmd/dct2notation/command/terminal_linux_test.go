package command

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/testing/ptytest"
)

func init() { // independent of the terminal in which the tests run
	_, _ = os.Unsetenv("NO_COLOR"), os.Unsetenv("TERM")
}

// followed matches a line that says what to do next.
var followed = regexp.MustCompile(`\n(next|hint): (dct2notation |NOTATION_CONFIG=|unsigned \(1 repository\): )`)

// On a terminal, a repository that cannot be read is reported once, by every verb: in the result,
// and not also as a message and as the final error.
func TestATerminalIsToldOnce(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	absent := p.registry.Host() + "/absent"
	show := func(args ...string) (int, string) {
		code := 0
		text := ptytest.Capture(t, 100, func(terminal *os.File) {
			common := []string{"--plain-http", "--docker-trust", "none", "--cache-dir", "none", "--notary-server", g.notary.URL(), "--trust-pinning", g.path("pins.json"), "--registry-config", g.path("config.json")}
			code = Main(context.Background(), nil, append(args, common...), cli.Streams{In: strings.NewReader(""), Out: terminal, Err: terminal})
		})
		return code, text
	}
	judged := []string{"--trust-policy", g.path("strict.json")}
	for _, repositories := range [][]string{{absent}, {p.trust.GUN(), absent}} {
		for _, verb := range [][]string{
			{"plan", "--state", p.ledger}, {"run", "--results", "none", "--state", p.ledger}, append([]string{"verify", "--results", "none"}, judged...),
			append([]string{"ready", "--no-ledger", "--date", "2099-12-08"}, judged...),
		} {
			code, text := show(append(verb, repositories...)...)
			// What is not read has one reason. If there is nothing else, the command's final error
			// is a different one.
			for _, once := range []string{"has no file root of it", "none has any", "is the name right"} {
				if n := strings.Count(text, once); n > 1 {
					t.Errorf("%v %v: got %q %d times, want it once (exit code %d)\n%s", verb, repositories, once, n, code, text)
				}
			}
			if n := len(followed.FindAllString(text, -1)); n != 1 && verb[0] != "ready" {
				t.Errorf("%v %v: got %d lines that say what to run next, want one (exit code %d)\n%s", verb, repositories, n, code, text)
			}
			if !strings.Contains(text, "has no file root of it") || !strings.Contains(text, "% |") {
				t.Errorf("%v %v: got no reason, or no progress bar (exit code %d)\n%s", verb, repositories, code, text)
			}
		}
	}
	code, text := show(append([]string{"verify", "--results", "none", "--include-tags", "none-of-them", p.trust.GUN()}, judged...)...)
	if n := strings.Count(text, "no tag matches"); n != 1 || code != cli.ExitUsage {
		t.Errorf("tags that are not there: got the reason %d times and exit code %d, want it once and %d\n%s", n, code, cli.ExitUsage, text)
	}
}
