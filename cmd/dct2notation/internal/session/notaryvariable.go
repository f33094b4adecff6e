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

// WrongURL is the hint where a Notary server has nothing of what it is asked for.
const WrongURL = "check the Notary URL in --notary-server, notary in the configuration and " + serverVariable + " (Harbor's is https://<host>:4443), and the repository's name"

// notaryVariable is what serverVariable says, and of which registry. docker takes it for every
// registry; here it is of the only one that is named, as that one's login is sent there.
type notaryVariable struct {
	url      string // empty: nothing, or it is not used
	registry string
	unused   bool // it is set, and the registries that it could be of are several
}

func (v notaryVariable) holds(registry string) bool { return v.url != "" && v.registry == registry }

// useVariable has the variable say where the Notary server of the registry is, if neither the
// flag nor the configuration does.
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

// Origin says of the address of a Notary server that it is from the variable, if it is.
func (r *Servers) Origin(server string) string {
	if r.variable.url != "" && server == r.variable.url {
		return "; its address is from " + serverVariable
	}
	return ""
}
