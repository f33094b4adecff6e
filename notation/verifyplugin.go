package notation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// VerificationPlugin is a plugin that signatures may name for their verification. It runs as a
// signing plugin does: see [Key].
type VerificationPlugin struct {
	Name    string
	Path    string            // of its file; empty: where notation keeps it
	SHA256  string            // of its file, in hex; empty: any
	Config  map[string]string // as for notation verify --plugin-config
	Env     []string          // more environment variables that it may see
	Timeout time.Duration     // of one call; 0: a minute
}

// pluginManager has the plugins that were configured, by name, and no others: who signs names a
// plugin, and who verifies decides which programs run. It takes the place of notation-go's, which
// starts whatever file the name leads to, before it is known whose signature it is.
type pluginManager map[string]plugin.Plugin

type verificationPlugin struct {
	*pluginClient
	config map[string]string
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
		m[c.Name] = &verificationPlugin{p, maps.Clone(c.Config)}
	}
	return m, nil
}

var (
	errNotAnchored   = errors.New("its certificate is not trusted, so nothing that it names is started or asked")
	errNotConfigured = errors.New("no such plugin is configured")
)

// ExaminePlugins finds, checks and starts each plugin, as the verification of a signature that
// names it would, and tells what it is or why it cannot be used. It stops when ctx is done. The
// error is one of the configuration.
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

// Get is notation-go's plugin.Manager's. It starts nothing.
func (m pluginManager) Get(ctx context.Context, name string) (plugin.Plugin, error) {
	e := evidenceOf(ctx)
	if e == nil {
		return nil, errNotAnchored
	}
	e.named()
	if !e.anchored() {
		return nil, errNotAnchored
	}
	p, ok := m[name]
	if !ok {
		return nil, fmt.Errorf("%w; if its signatures are to be verified by it, name it with --verification-plugin", errNotConfigured)
	}
	return p, nil
}

// List is notation-go's plugin.Manager's.
func (m pluginManager) List(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m)), nil
}

// GetMetadata asks the plugin what it is, once, with its own configuration.
func (p *verificationPlugin) GetMetadata(ctx context.Context, _ *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return p.pluginClient.GetMetadata(ctx, &plugin.GetMetadataRequest{PluginConfig: p.config})
}

// VerifySignature has the plugin verify what notation-go leaves to it.
func (p *verificationPlugin) VerifySignature(ctx context.Context, req *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	with := *req
	with.PluginConfig = p.config
	return p.pluginClient.VerifySignature(ctx, &with)
}

// checkPluginName refuses what cannot be the name of a plugin: it becomes part of a path.
func checkPluginName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\:\x00") {
		return failure.WithHint(failure.Permanent, fmt.Errorf("plugin %s: that is no name of a plugin", shown(name)), "a plugin's name is what notation plugin list shows; its file is named apart, as with --plugin-path")
	}
	return nil
}
