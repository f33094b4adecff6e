package command

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// stageOf is the stage that is asked for, or that of what enforced DCT until now. Skipping
// verification is never a stage.
func (o *policyOptions) stageOf(m *migrated) (policy.Stage, error) {
	stage := policy.Stage(o.stage)
	if o.stage != "" && stage != policy.Audit && stage != policy.Enforce {
		return "", usage(fmt.Errorf("--stage %s: it is audit or enforce", safetext.Safe(o.stage, 64)))
	}
	var was policy.Stage
	var err error
	switch {
	case o.daemon != "" && o.mke != "":
		return "", usage(errors.New("--docker-daemon and --mke-config each give the stage: name one of them"))
	case o.daemon != "":
		was, err = m.ofDaemon(o.daemon)
	case o.mke != "":
		was, err = m.ofMKE(o.mke)
	default:
		was = policy.Audit
	}
	switch {
	case err != nil:
		return "", usage(err)
	case stage == "" && was == "":
		return "", usage(fmt.Errorf("%s: nothing was verified by it\nhint: give --stage to begin with it", o.daemon+o.mke))
	case stage == "":
		return was, nil
	case stage == policy.Audit && was == policy.Enforce:
		m.notes = append(m.notes, "That enforced, and this stage does not: leave it on until the stage enforce.")
	}
	return stage, nil
}

// ofDaemon gives the stage of docker's daemon.json, of which only MCR reads content-trust; none
// if nothing was verified.
func (m *migrated) ofDaemon(path string) (policy.Stage, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading docker's configuration: %w", err)
	}
	var daemon struct {
		ContentTrust struct {
			Mode         string `json:"mode"`
			AllowExpired bool   `json:"allow-expired-cached-trust-data"`
		} `json:"content-trust"`
	}
	if err := json.Unmarshal(raw, &daemon); err != nil {
		return "", fmt.Errorf("docker's configuration %s is no JSON object as daemon.json is: %s", path, safetext.Safe(err.Error(), 200))
	}
	mode := daemon.ContentTrust.Mode
	m.notes = append(m.notes, fmt.Sprintf("Docker's daemon had content-trust in mode %s. Only Mirantis Container Runtime read that; Docker Engine never did.", safetext.Safe(mode, 64)))
	if daemon.ContentTrust.AllowExpired {
		m.notes = append(m.notes, "It allowed expired trust data; expired signatures are refused at the stage enforce.")
	}
	return map[string]policy.Stage{"enforced": policy.Enforce, "permissive": policy.Audit}[mode], nil
}

// ofMKE gives the stage of MKE's configuration, as its API's ucp/config-toml has it; none if
// unsigned images could run.
// SPEC (MKE configuration options, trust_configuration): require_content_trust, false if it is
// not there; require_signature_from, users or teams.
func (m *migrated) ofMKE(path string) (policy.Stage, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading MKE's configuration: %w", err)
	}
	var mke struct {
		Trust struct {
			Required bool     `toml:"require_content_trust"`
			From     []string `toml:"require_signature_from"`
		} `toml:"trust_configuration"`
	}
	if err := toml.Unmarshal(raw, &mke); err != nil {
		return "", fmt.Errorf("MKE's configuration %s is not read: %s", path, safetext.Safe(err.Error(), 200))
	}
	if !mke.Trust.Required {
		return "", nil
	}
	m.notes = append(m.notes, "MKE ran only signed images, from whatever repository. These files are for the repositories below.")
	if len(mke.Trust.From) > 0 {
		m.notes = append(m.notes, "MKE asked for a signature of each of these: "+safetext.Safe(strings.Join(mke.Trust.From, ", "), 500)+". Here any one signature passes. Signers have keys of their own by keys in the configuration; who signs for which team is not in the trust data.")
	}
	return policy.Enforce, nil
}

// rootKey is the public key of a repository's root in PEM, where it has one only. The root is
// verified.
func rootKey(r *dct.Repository) ([]byte, bool) {
	var root struct {
		Signed struct {
			Keys map[string]struct {
				Type  string `json:"keytype"`
				Value struct {
					Public []byte `json:"public"`
				} `json:"keyval"`
			} `json:"keys"`
			Roles map[string]struct {
				KeyIDs []string `json:"keyids"`
			} `json:"roles"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(r.Known().Root, &root); err != nil || len(root.Signed.Roles["root"].KeyIDs) != 1 {
		return nil, false
	}
	key := root.Signed.Keys[root.Signed.Roles["root"].KeyIDs[0]]
	block, _ := pem.Decode(key.Value.Public)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, false
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: c.RawSubjectPublicKeyInfo}), true
}
