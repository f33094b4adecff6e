package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"

	notationgo "github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/dct2notation/dct2notation/migrate"
)

// byHand verifies one image of a repository as the notation command does: with notation's library over oras, from the
// trust policy and store on disk. None of the product's code is involved.
func (p *play) byHand(ctx context.Context, r *repository) error {
	const tag, role = "latest", "targets/releases"
	image, err := r.registry.Resolve(r.name, tag)
	if err != nil {
		return err
	}
	reference := r.gun + "@" + image.Digest.String()
	binding := migrate.MetadataTag + tag
	p.say("what a user would type; here the same library answers in process:")
	p.command("SSL_CERT_FILE="+caFile, "notation", "verify", "-m", binding+"="+role, reference)
	outcome, err := p.notationVerify(ctx, r, reference, map[string]string{binding: role})
	if err != nil {
		p.check("notation's own library verifies an image and the binding of its tag", []string{err.Error()})
		return ctx.Err()
	}
	metadata, err := outcome.UserMetadata()
	if err != nil {
		return err
	}
	p.line("  verified   " + image.Digest.String())
	p.line("  signer     " + outcome.EnvelopeContent.SignerInfo.CertificateChain[0].Subject.String())
	for _, k := range slices.Sorted(maps.Keys(metadata)) {
		p.line(shorten("  signed     " + k + " = " + metadata[k]))
	}
	p.check("notation's own library verifies an image and the binding of its tag", nil)
	return nil
}

// notationVerify asks notation for a trusted signature that has the metadata.
func (p *play) notationVerify(ctx context.Context, r *repository, reference string, metadata map[string]string) (*notationgo.VerificationOutcome, error) {
	v, err := p.notationVerifier()
	if err != nil {
		return nil, err
	}
	repository, err := p.remote(r)
	if err != nil {
		return nil, err
	}
	_, outcomes, err := notationgo.Verify(ctx, v, registry.NewRepository(repository), notationgo.VerifyOptions{
		ArtifactReference: reference, MaxSignatureAttempts: 10, UserMetadata: metadata,
	})
	if err != nil {
		return nil, err
	}
	if len(outcomes) == 0 {
		return nil, errors.New("notation skipped the verification")
	}
	return outcomes[len(outcomes)-1], nil
}

func (s *scene) notationVerifier() (notationgo.Verifier, error) {
	raw, err := os.ReadFile(s.path(notationFolder, "trustpolicy.json"))
	if err != nil {
		return nil, err
	}
	var policy trustpolicy.Document
	if err := json.Unmarshal(raw, &policy); err != nil {
		return nil, err
	}
	return verifier.New(&policy, truststore.NewX509TrustStore(dir.NewSysFS(s.path(notationFolder))), plugin.NewCLIManager(dir.NewSysFS(s.path(libexecFolder, "plugins"))))
}

// remote returns the repository as anybody with oras and a login sees it.
func (s *scene) remote(r *repository) (*remote.Repository, error) {
	repository, err := remote.NewRepository(r.gun)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.registry.CAPEM()) {
		return nil, fmt.Errorf("reading the certificate of %s: it is none", r.registry.Host())
	}
	u := s.users[r.registry]
	repository.Client = &auth.Client{
		Client:     &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
		Cache:      auth.NewCache(),
		Credential: auth.StaticCredential(r.registry.Host(), auth.Credential{Username: u.name, Password: u.password}),
	}
	return repository, nil
}
