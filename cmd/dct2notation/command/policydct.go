package command

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation/policy"
)

// stageOf is the stage that is asked for, or that docker's daemon.json has: only MCR reads
// content-trust there. Skipping verification is never a stage.
func (o *policyOptions) stageOf(m *migrated) (policy.Stage, error) {
	stage := policy.Stage(o.stage)
	if o.stage != "" && stage != policy.Audit && stage != policy.Enforce {
		return "", usage(fmt.Errorf("--stage %s: it is audit or enforce", safetext.Safe(o.stage, 64)))
	}
	if o.daemon == "" {
		if stage == "" {
			stage = policy.Audit
		}
		return stage, nil
	}
	raw, err := os.ReadFile(o.daemon)
	if err != nil {
		return "", usage(fmt.Errorf("reading docker's configuration: %w", err))
	}
	var daemon struct {
		ContentTrust struct {
			Mode         string `json:"mode"`
			AllowExpired bool   `json:"allow-expired-cached-trust-data"`
		} `json:"content-trust"`
	}
	if err := json.Unmarshal(raw, &daemon); err != nil {
		return "", usage(fmt.Errorf("reading docker's configuration %s: %w", o.daemon, err))
	}
	mode := daemon.ContentTrust.Mode
	was, ok := map[string]policy.Stage{"enforced": policy.Enforce, "permissive": policy.Audit}[mode]
	if !ok && stage == "" {
		return "", usage(fmt.Errorf("content-trust in %s has the mode %q: nothing was verified by it\nhint: give --stage to begin with it", o.daemon, safetext.Safe(mode, 64)))
	}
	if stage == "" {
		stage = was
	}
	m.notes = append(m.notes, fmt.Sprintf("Docker's daemon had content-trust in mode %s. Only Mirantis Container Runtime read that; Docker Engine never did.", safetext.Safe(mode, 64)))
	if stage == policy.Audit && was == policy.Enforce {
		m.notes = append(m.notes, "That enforced, and this stage does not: leave content-trust on until the stage enforce.")
	}
	if daemon.ContentTrust.AllowExpired {
		m.notes = append(m.notes, "It allowed expired trust data; expired signatures are refused at the stage enforce.")
	}
	return stage, nil
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
