package notation

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/notaryproject/notation-core-go/revocation/purpose"
	revocationresult "github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// VerificationPlugin is a plugin that signatures may name for their verification. It runs like a signing plugin: see
// [Key].
type VerificationPlugin struct {
	Name    string
	Path    string            // path of its file; empty: notation's place
	SHA256  string            // SHA-256 of its file, in hex; empty: any
	Config  map[string]string // as for notation verify --plugin-config
	Env     []string          // more environment variables that it may see
	Timeout time.Duration     // for one call; 0: a minute
}

// pluginManager has only the configured plugins, by name: the signer names a plugin, but the verifier decides which
// programs run. It replaces notation-go's, which starts whatever file the name leads to, before it is known who
// signed.
type pluginManager map[string]plugin.Plugin

type verificationPlugin struct {
	*pluginClient
	config  map[string]string
	answers pluginAnswers
}

func newPluginManager(configured []VerificationPlugin) (pluginManager, error) {
	m := pluginManager{}
	for _, c := range configured {
		if err := checkPluginName(c.Name); err != nil {
			return nil, err
		}
		if m[c.Name] != nil {
			return nil, fmt.Errorf("verification plugin %s is configured twice", shown(c.Name))
		}
		p := newPlug(pluginFile{name: c.Name, given: c.Path, sum: c.SHA256}, c.Config, c.Env, c.Timeout)
		p.needs = verifiers
		m[c.Name] = &verificationPlugin{pluginClient: p, config: maps.Clone(c.Config), answers: pluginAnswers{ask: p.VerifySignature}}
	}
	return m, nil
}

var (
	errNotAnchored   = errors.New("its certificate is not trusted, so nothing that it names is started or asked")
	errNotConfigured = errors.New("no such plugin is configured")
)

// ExaminePlugins finds, checks and starts each plugin, as the verification of a signature that names it would. It
// reports through tell what the plugin is or why it cannot be used. It stops when ctx is done. Its error is about the
// configuration.
func ExaminePlugins(ctx context.Context, configured []VerificationPlugin, tell func(name, found string, err error)) error {
	m, err := newPluginManager(configured)
	if err != nil {
		return err
	}
	for _, c := range configured {
		found, err := m[c.Name].GetMetadata(ctx, &plugin.GetMetadataRequest{})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			tell(c.Name, "", err)
			continue
		}
		tell(c.Name, fmt.Sprintf("version %s, protocol %s, verifies signatures", shown(found.Version), plugin.ContractVersion), nil)
	}
	return nil
}

// Get implements notation-go's plugin.Manager. It starts nothing.
func (m pluginManager) Get(ctx context.Context, name string) (plugin.Plugin, error) {
	e := evidenceOf(ctx)
	if e == nil {
		return nil, errNotAnchored
	}
	e.named()
	if !e.anchored(ctx) {
		return nil, errNotAnchored
	}
	p, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("%w; if its signatures are to be verified by it, name it with --verification-plugin", errNotConfigured)
	}
	return p, nil
}

// List implements notation-go's plugin.Manager.
func (m pluginManager) List(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m)), nil
}

// GetMetadata asks once for the plugin's metadata, with its own configuration.
func (p *verificationPlugin) GetMetadata(ctx context.Context, _ *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return p.pluginClient.GetMetadata(ctx, &plugin.GetMetadataRequest{PluginConfig: p.config})
}

// VerifySignature lets the plugin verify what notation-go leaves to it, and records what it said about revocation.
func (p *verificationPlugin) VerifySignature(ctx context.Context, req *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	with := *req
	with.PluginConfig = p.config
	answer, err := p.answers.get(ctx, &with)
	if err != nil {
		return nil, err
	}
	if r := answer.VerificationResults[plugin.CapabilityRevocationCheckVerifier]; r != nil && !r.Success {
		evidenceOf(ctx).heard(purpose.CodeSigning, revocationIn(r.Reason))
	}
	return answer, nil
}

var (
	resourceName = regexp.MustCompile(`\barn:\S+`)
	revokedWord  = regexp.MustCompile(`(?i)\brevoked\b`)
	errorWord    = regexp.MustCompile(`(?i)\b(error|exception|failed to|unable to|could not|cannot|can't|timed out|timeout)\b`)
)

// revocationIn interprets the reason with which a plugin fails the revocation check. The protocol has one answer for
// revoked and for unknown, and AWS Signer's plugin uses it for both. So only a reason that says revoked, and mentions
// no error, counts against the signature. Names of resources in it are ignored.
//
// SPEC (Notary Project, plugin-extensibility, verify-signature: success and reason for each capability).
func revocationIn(reason string) revocationresult.Result {
	reason = resourceName.ReplaceAllString(reason, "")
	if revokedWord.MatchString(reason) && !errorWord.MatchString(reason) {
		return revocationresult.ResultRevoked
	}
	return revocationresult.ResultUnknown
}

// pluginAnswers asks a plugin only now and then about each signature, like about certificates: many tags may be of
// one image, and each question is a request to its service. A failure to answer is not remembered. It is safe for
// concurrent use.
type pluginAnswers struct {
	ask func(context.Context, *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error)

	mu    sync.Mutex
	known map[[sha256.Size]byte]*pluginAnswer // by the whole question
}

type pluginAnswer struct {
	mu     sync.Mutex
	answer *plugin.VerifySignatureResponse
	until  time.Time
}

func (p *pluginAnswers) get(ctx context.Context, req *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	asked, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("preparing to ask the verification plugin: %w", err)
	}
	a := p.about(sha256.Sum256(asked))
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.until) {
		return a.answer, nil
	}
	answer, err := p.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	keep := goodFor
	for _, r := range answer.VerificationResults {
		if r == nil || !r.Success {
			keep = otherwise
		}
	}
	a.answer, a.until = answer, time.Now().Add(keep)
	return answer, nil
}

func (p *pluginAnswers) about(asked [sha256.Size]byte) *pluginAnswer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxChains {
		p.known = map[[sha256.Size]byte]*pluginAnswer{}
	}
	if p.known[asked] == nil {
		p.known[asked] = &pluginAnswer{}
	}
	return p.known[asked]
}

// checkPluginName refuses an invalid plugin name: it becomes part of a path.
func checkPluginName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\:\x00") {
		return failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s: that is no name of a plugin", shown(name)), "a plugin's name is what notation plugin list shows; its file is named apart, as with --plugin-path")
	}
	return nil
}
