package session

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
)

// serverVariable is docker's variable for the address of the Notary server.
const serverVariable = "DOCKER_CONTENT_TRUST_SERVER"

// WrongURL is the hint if a Notary server has nothing of what is requested.
const WrongURL = "check the Notary URL in --notary-server, notary in the configuration and " + serverVariable + " (Harbor's is https://<host>:4443), and the repository's name"

// notaryVariable is the value of serverVariable, and the registry it applies to. docker uses it for every registry;
// here it applies only to a single named one, because that registry's login is sent there.
type notaryVariable struct {
	url      string // empty: not set, or not used
	registry string
	unused   bool // it is set, and could apply to several registries
}

func (v notaryVariable) holds(registry string) bool { return v.url != "" && v.registry == registry }

// useVariable takes the address of the registry's Notary server from the variable, if neither the flag nor the
// configuration names it.
func (r *Servers) useVariable(registries []string, log *slog.Logger) error {
	set := os.Getenv(serverVariable)
	if set == "" || r.Opts.NotaryServer != "" || !r.Opts.FromServer() {
		return nil
	}
	said := func(registry string) bool { _, ok := r.notary[registry]; return ok }
	open := slices.DeleteFunc(slices.Clone(registries), said)
	switch {
	case len(open) == 0: // or no registry is known yet
		return nil
	case len(registries) != 1:
		r.variable.unused = true
		log.Warn(serverVariable+" is not used: the login of each registry would go there", "registries", len(registries), "hint", "set the Notary server of each under notary in the configuration, or one for all with --notary-server")
		return nil
	}
	err := checkNotaryURL(set)
	if err == nil && !strings.HasPrefix(set, "https://") {
		err = fmt.Errorf("must be an https URL, as for docker\nhint: --notary-server takes http")
	}
	if err != nil {
		return cli.Usage(fmt.Errorf("%s: %w", serverVariable, err))
	}
	r.variable = notaryVariable{url: strings.TrimSuffix(set, "/"), registry: registries[0]}
	log.Info("Notary server", "of", registries[0], "url", r.variable.url, "from", serverVariable)
	return nil
}

// Origin returns a remark for the address of a Notary server that is from the variable.
func (r *Servers) Origin(server string) string {
	if r.variable.url != "" && server == r.variable.url {
		return "; its address is from " + serverVariable
	}
	return ""
}
