package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// The files of the scene, relative to its folder, as the commands name them.
const (
	caFile     = "ca.pem"
	pinsFile   = "pins.json"
	configFile = "migration.yaml"
	ledgerFile = "migration.db"
	planFile   = "plan.json"
	reportFile = "verify.json"

	resultsFolder  = "results"
	cacheFolder    = "cache"
	dockerFolder   = "docker"
	notationFolder = "notation"
	libexecFolder  = "libexec"
	trustStore     = "demo"
)

// workers is how many key operations may be in flight.
const workers = 4

// environment is what a user would export, with the folders in dir.
func environment(dir string) []string {
	return []string{
		"DOCKER_CONFIG=" + filepath.Join(dir, dockerFolder),
		"NOTATION_CONFIG=" + filepath.Join(dir, notationFolder),
		"NOTATION_LIBEXEC=" + filepath.Join(dir, libexecFolder),
	}
}

// writeFiles writes what a user has before a migration: logins, certificates, pins, a
// trust policy, and the configuration.
func (s *scene) writeFiles() error {
	policy, err := s.trustPolicy()
	if err != nil {
		return err
	}
	config, err := s.configuration()
	if err != nil {
		return err
	}
	logins, err := s.logins()
	if err != nil {
		return err
	}
	pins, err := s.pins()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		caFile: bytes.Join([][]byte{s.notary.CAPEM(), s.modern.CAPEM(), s.old.CAPEM()}, nil),
		filepath.Join(notationFolder, "truststore", "x509", "ca", trustStore, "root.pem"): s.authority.CertificatePEM(),
		filepath.Join(notationFolder, "trustpolicy.json"):                                 policy,
		filepath.Join(dockerFolder, "config.json"):                                        logins,
		pinsFile:   pins,
		configFile: config,
	} {
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(s.path(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// guns returns the repositories' names.
func (s *scene) guns() []string {
	var guns []string
	for _, r := range s.repositories {
		guns = append(guns, r.gun)
	}
	return guns
}

// logins returns what docker login writes without a credential helper.
func (s *scene) logins() ([]byte, error) {
	auths := map[string]map[string]string{}
	for registry, u := range s.users {
		auths[registry.Host()] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(u.name + ":" + u.password))}
	}
	return json.Marshal(map[string]any{"auths": auths})
}

// pins returns the root keys, in notary's own JSON, as somebody would have noted them when the repositories were
// made.
func (s *scene) pins() ([]byte, error) {
	certs := map[string][]string{}
	for _, r := range s.repositories {
		certs[r.gun] = r.trust.RootKeyIDs()
	}
	return json.MarshalIndent(map[string]any{
		"trust_pinning": map[string]any{"certs": certs, "disable_tofu": true},
	}, "", "  ")
}

// trustPolicy returns notation's trust policy, for exactly these repositories.
func (s *scene) trustPolicy() ([]byte, error) {
	return json.MarshalIndent(trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name: "migrated", RegistryScopes: s.guns(),
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: trustpolicy.LevelStrict.Name},
			TrustStores:           []string{"ca:" + trustStore},
			TrustedIdentities:     []string{"x509.subject: C=US, ST=WA, O=dct2notation test, CN=demo release key"},
		}},
	}, "", "  ")
}

// configuration returns what would be the same on every command line.
func (s *scene) configuration() ([]byte, error) {
	settings, err := yaml.Marshal(map[string]any{
		"ca-file": caFile, "trust-pinning": pinsFile, "state": ledgerFile,
		"results": resultsFolder, "cache-dir": cacheFolder, // not those of the user's own migration
		"plugin": kmstest.Name, "id": keyID, "workers": workers,
	})
	if err != nil {
		return nil, err
	}
	list, err := yaml.Marshal(map[string][]string{"repositories": s.guns()})
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte("version: 1\n"), settings, list), nil
}

// introduce shows what there is to migrate.
func (s *scene) introduce(show *screen) {
	all := 0
	for _, r := range s.repositories {
		kind := "referrers"
		if r.registry == s.old {
			kind = "tag schema"
		}
		all += r.signed
		show.line(fmt.Sprintf("  %-30s %3d  %-10s  %s", r.gun, r.signed, kind, r.tell))
	}
	show.line(fmt.Sprintf("  %d signed images in %d repositories, %d of them to be signed again", all, len(s.repositories), s.total()))
}
