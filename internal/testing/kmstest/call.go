package kmstest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A Call is a line of the call log: a command that the plugin was started for, written before it was
// carried out.
type Call struct {
	Command string `json:"command"`
	// Args is the command line.
	Args  []string `json:"args,omitempty"`
	KeyID string   `json:"keyId,omitempty"`
	// Payload is the hex SHA-256 of the bytes to be signed; empty for commands without.
	Payload string `json:"payload,omitempty"`
	// Proof is set where those bytes are over no image: dct2notation asked what certificate the key has.
	Proof bool `json:"proof,omitempty"`
	// Fault is what went wrong with it on purpose: throttled, also when that was for the rate. Empty: nothing.
	Fault Kind `json:"fault,omitempty"`
	// UnixNano is when.
	UnixNano int64 `json:"unixNano"`
}

// At is when the call was made.
func (c Call) At() time.Time { return time.Unix(0, c.UnixNano) }

// proofType is the media type of what a proof is over.
const proofType = "application/vnd.dct2notation.proof"

// IsProof reports whether bytes to be signed are those of a proof: the payload itself, COSE's
// structure around it, or JWS's parts in base64.
func IsProof(payload []byte) bool {
	if bytes.Contains(payload, []byte(proofType)) {
		return true
	}
	for part := range bytes.SplitSeq(payload, []byte(".")) {
		plain, err := base64.RawURLEncoding.DecodeString(string(part))
		if err == nil && bytes.Contains(plain, []byte(proofType)) {
			return true
		}
	}
	return false
}

// Append adds the call to the log with a single write, so that lines of plugins running at once, or
// killed at once, do not mix.
func (c Call) Append(path string) error {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a call: %w", err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the call log: %w", err)
	}
	_, err = log.Write(append(line, '\n'))
	if closing := log.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("writing the call log: %w", err)
	}
	return nil
}

// readCalls returns the calls of one command, or all if it is empty. No log yet means no calls.
func readCalls(path, command string) ([]Call, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the call log: %w", err)
	}
	var calls []Call
	for line := range bytes.Lines(content) {
		var c Call
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("reading the call log %s: %w", path, err)
		}
		if command == "" || c.Command == command {
			calls = append(calls, c)
		}
	}
	return calls, nil
}
