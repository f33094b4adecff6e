package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/notaryproject/notation-go/dir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
	"github.com/dct2notation/dct2notation/migrate/verify"
	"github.com/dct2notation/dct2notation/notation"
	"github.com/dct2notation/dct2notation/notation/signature"
)

// verifierOptions say which plugins may verify signatures. A signature names the plugin that its signer wants; only
// plugins named here are run.
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

// OpenVerifier opens the one verifier of envelopes, by a trust policy (empty: notation's own). rt sends the
// revocation requests.
func (o *verifierOptions) OpenVerifier(policy string, rt http.RoundTripper) (*notation.Verifier, error) {
	plugins, err := o.Plugins()
	if err != nil {
		return nil, cli.Usage(err)
	}
	v, err := notation.OpenVerifier(notation.VerifierOptions{Policy: policy, Plugins: plugins, Client: transport.Client(rt, nil).Client})
	return v, cli.Usage(err)
}

// Verification compares what the session has selected, with a verifier. seen receives what the verifier has
// inspected; may be nil.
func (f *Session) Verification(verifier *notation.Verifier, seen func(ocispec.Descriptor, []signature.Looked)) *verify.Verification {
	return &verify.Verification{
		Trust: f.Reader(), Registry: &ImageRegistry{Client: f.Registry}, Scope: f.Scope, Workers: 1,
		Judge: &Judge{Client: f.Registry, Of: signature.Judge{Verifier: verifier, Seen: seen}},
	}
}

// WarnOfStore warns of a trust store beside the trust policy: it is not used, although policy writes both together.
func WarnOfStore(trustPolicy string, log *slog.Logger) {
	if trustPolicy == "" {
		return
	}
	folder := filepath.Dir(trustPolicy)
	beside, err := os.Stat(filepath.Join(folder, dir.TrustStoreDir))
	if err != nil || !beside.IsDir() {
		return
	}
	read, err := dir.ConfigFS().SysPath(dir.TrustStoreDir)
	if err != nil {
		return
	}
	if used, err := os.Stat(read); err == nil && os.SameFile(used, beside) {
		return
	}
	log.Warn("notation's own trust store is used, not the one next to the trust policy; to use both, as policy writes them, set NOTATION_CONFIG to their folder", "folder", folder, "read", read)
}

// TrustFolder is the folder in the policy notation command that a run suggests in its last line.
const TrustFolder = "trust"

// PolicyCovers reports whether notation's own trust policy, or else the one in TrustFolder, has a statement for the
// images in each of these repositories, so that verify has a policy to judge by; folder is empty for notation's own.
func PolicyCovers(repositories []string) (all bool, folder string) {
	switch {
	case covered("", repositories):
		return true, ""
	case covered(filepath.Join(TrustFolder, dir.PathTrustPolicy), repositories):
		return true, TrustFolder
	}
	return false, ""
}

func covered(policy string, repositories []string) bool {
	v, err := notation.OpenVerifier(notation.VerifierOptions{Policy: policy})
	if err != nil {
		return false
	}
	for _, r := range repositories {
		if _, err := v.Statement(r + "@" + digest.FromString("").String()); err != nil {
			return false
		}
	}
	return true
}

// OfflineTransport sends the revocation requests of a verb that otherwise connects to no server.
func (o *RemoteOptions) OfflineTransport() (*transport.Transport, error) {
	rt, err := transport.New(transport.Options{
		CAFile: o.caFile, TLSDir: filepath.Join(cli.DockerDir(), "tls"), UserAgent: cli.Tool(), Retries: RequestRetries,
	})
	return rt, cli.Usage(err)
}
