//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// A request is the fields of all requests together; a command uses its own.
type request struct {
	ContractVersion         string            `json:"contractVersion"`
	KeyID                   string            `json:"keyId"`
	Payload                 []byte            `json:"payload"`
	PayloadType             string            `json:"payloadType"`
	SignatureEnvelopeType   string            `json:"signatureEnvelopeType"`
	ExpiryDurationInSeconds uint64            `json:"expiryDurationInSeconds"`
	PluginConfig            map[string]string `json:"pluginConfig"`

	Signature   plugin.Signature   `json:"signature"`
	TrustPolicy plugin.TrustPolicy `json:"trustPolicy"`
}

func (r *request) read(stdin io.Reader) error {
	content, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if err := json.Unmarshal(content, r); err != nil {
		return plugin.NewJSONParsingError(plugin.ErrorMsgMalformedInput)
	}
	if r.ContractVersion != "" && r.ContractVersion != plugin.ContractVersion {
		return plugin.NewUnsupportedContractVersionError(r.ContractVersion)
	}
	return nil
}

// behaviourFile is the file the request names, or else the one beside the executable.
func (r *request) behaviourFile() (string, error) {
	if path := r.PluginConfig[kmstest.ConfigKey]; path != "" {
		return path, nil
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for the behaviour file: %w", err)
	}
	return filepath.Join(filepath.Dir(program), kmstest.BehaviourFile), nil
}
