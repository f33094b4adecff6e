package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
)

// Of several registries, one whose list names nothing is one whose repositories are not known: the
// others are compared and signed, and the call is not complete.
func TestARegistryThatNamesNothingIsNotComplete(t *testing.T) {
	g := newGround(t)
	p := g.places[0]
	both := []string{"--trust-policy", g.path("strict.json"), p.registry.Host() + "/*", g.places[1].registry.Host() + "/*"}
	var asked atomic.Int32 // for a changefeed, by one call
	check := func(how, body string, names int) {
		t.Helper()
		asked.Store(0)
		code, out, said := g.main("verify", append([]string{"--discover", how}, both...)...)
		var v struct {
			Agree, Complete bool
			Repositories    []struct{}
		}
		if err := json.Unmarshal(out, &v); err != nil || code != cli.ExitFailures || v.Complete || v.Agree || len(v.Repositories) != names {
			t.Errorf("verify, %s %s: exit code %d, complete %t, agree %t, %d repositories, want %d, false, false, %d: %v %s",
				how, body, code, v.Complete, v.Agree, len(v.Repositories), cli.ExitFailures, names, err, said)
		}
		asked.Store(0)
		code, out, said = g.main("run", append([]string{"--discover", how, "--state", g.path(how + ".db")}, both[2:]...)...)
		var r struct{ Complete bool }
		if err := json.Unmarshal(out, &r); err != nil || code != cli.ExitFailures || r.Complete {
			t.Errorf("run, %s %s: exit code %d, complete %t, want %d, false: %v %s", how, body, code, r.Complete, cli.ExitFailures, err, said)
		}
	}
	for _, body := range []string{`{}`, `[]`, `{"repositories":null}`, `{"repositories":[]}`} {
		p.answer(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			hit := strings.HasPrefix(r.URL.Path, "/v2/_catalog")
			if hit {
				_, _ = fmt.Fprint(w, body)
			}
			return hit
		})
		check(session.DiscoverCatalog, body, 1)
		g.restore()
	}
	g.notary.SetHook(func(w http.ResponseWriter, r *http.Request) bool {
		hit := strings.HasSuffix(r.URL.Path, "/_trust/changefeed") && asked.Add(1) == 1 // for the first of the registries
		if hit {
			_, _ = fmt.Fprint(w, `{"count":0,"records":[]}`)
		}
		return hit
	})
	defer g.notary.SetHook(nil)
	check(session.DiscoverChangefeed, "", 2)
}
