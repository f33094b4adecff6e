package session

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/notation"
)

// verifierOptions say which plugins may verify signatures. A signature names the plugin that its
// signer wants; none runs that is not named here.
type verifierOptions struct {
	verifyPlugins []string // NAME, or NAME=FILE
	verifySums    map[string]string
	verifyConfig  map[string]string
	verifyEnv     []string
	verifyTimeout time.Duration
}

func (o *verifierOptions) bind(f *pflag.FlagSet) {
	f.StringSliceVar(&o.verifyPlugins, "verification-plugin", nil, "notation plugin that may verify signatures that ask for it, NAME or NAME=FILE (default: installed as for notation); signatures that ask for any other are unknown")
	f.Var((*cli.Pairs)(&o.verifySums), "verification-plugin-sha256", "expected SHA-256 of a verification plugin's file, NAME=SHA256; repeatable")
	f.Var((*cli.Pairs)(&o.verifyConfig), "verification-plugin-config", "configuration of the verification plugins, k=v; repeatable")
	f.StringSliceVar(&o.verifyEnv, "verification-plugin-env", nil, "additional environment variables to pass to the verification plugins")
	f.DurationVar(&o.verifyTimeout, "verification-plugin-timeout", time.Minute, "time limit for one call of a verification plugin")
}

// Plugins returns the verification plugins as they are configured.
func (o *verifierOptions) Plugins() ([]notation.VerificationPlugin, error) {
	var plugins []notation.VerificationPlugin
	named := map[string]bool{}
	for _, one := range o.verifyPlugins {
		name, file, given := strings.Cut(one, "=")
		if given && file == "" {
			return nil, fmt.Errorf("--verification-plugin %s: it takes NAME or NAME=FILE", safetext.Safe(one, 128))
		}
		named[name] = true
		plugins = append(plugins, notation.VerificationPlugin{Name: name, Path: file, SHA256: o.verifySums[name], Config: o.verifyConfig, Env: o.verifyEnv, Timeout: o.verifyTimeout})
	}
	for name := range o.verifySums {
		if !named[name] {
			return nil, fmt.Errorf("--verification-plugin-sha256 %s: --verification-plugin does not name it", safetext.Safe(name, 128))
		}
	}
	if len(plugins) == 0 && (len(o.verifyConfig) > 0 || len(o.verifyEnv) > 0) {
		return nil, errors.New("--verification-plugin-config and --verification-plugin-env need --verification-plugin")
	}
	return plugins, nil
}

// OpenVerifier opens the one judge of envelopes, by a trust policy (empty: notation's own). rt
// sends what it asks for revocation.
func (o *verifierOptions) OpenVerifier(policy string, rt http.RoundTripper) (*notation.Verifier, error) {
	plugins, err := o.Plugins()
	if err != nil {
		return nil, cli.Usage(err)
	}
	v, err := notation.OpenVerifier(notation.VerifierOptions{Policy: policy, Plugins: plugins, Client: transport.Client(rt, nil).Client})
	return v, cli.Usage(err)
}

// OfflineTransport sends what a verb asks for revocation that connects to no server otherwise.
func (o *RemoteOptions) OfflineTransport() (*transport.Transport, error) {
	rt, err := transport.New(transport.Options{
		CAFile: o.caFile, TLSDir: filepath.Join(cli.DockerDir(), "tls"), UserAgent: cli.Tool(), Retries: RequestRetries,
	})
	return rt, cli.Usage(err)
}
