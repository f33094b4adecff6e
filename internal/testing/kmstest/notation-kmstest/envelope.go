//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

func (j *job) generateEnvelope() (*plugin.GenerateEnvelopeResponse, error) {
	pen, err := j.pen()
	if err != nil {
		return nil, err
	}
	payload := j.request.Payload
	if j.fault.Kind == kmstest.WrongPayload {
		if payload, err = otherTarget(payload); err != nil {
			return nil, err
		}
	}
	empty, err := signature.NewEnvelope(j.request.SignatureEnvelopeType)
	if err != nil {
		return nil, plugin.NewValidationErrorf("envelope type %q: %v", j.request.SignatureEnvelopeType, err)
	}
	signing := &signature.SignRequest{
		Payload:       signature.Payload{ContentType: j.request.PayloadType, Content: payload},
		Signer:        pen,
		SigningTime:   time.Now(),
		SigningScheme: signature.SigningSchemeX509,
		SigningAgent:  "notation-kmstest/1.0.0",
	}
	if last := pen.chain[0].NotAfter; last.Before(signing.SigningTime) {
		signing.SigningTime = last // else no envelope could be made at all with an expired certificate
	}
	if j.request.ExpiryDurationInSeconds > 0 {
		signing.Expiry = signing.SigningTime.Add(time.Duration(j.request.ExpiryDurationInSeconds) * time.Second)
	}
	sealed, err := empty.Sign(signing)
	if err != nil {
		return nil, fmt.Errorf("making the envelope: %w", err)
	}
	return &plugin.GenerateEnvelopeResponse{
		SignatureEnvelope:     sealed,
		SignatureEnvelopeType: j.envelopeType(),
		Annotations:           j.annotations(),
	}, nil
}

// annotations are those of the behaviour, each image's its own.
func (j *job) annotations() map[string]string {
	var payload struct {
		Target struct {
			Digest string `json:"digest"`
		} `json:"targetArtifact"`
	}
	if err := json.Unmarshal(j.request.Payload, &payload); err != nil {
		return nil
	}
	all := map[string]string{}
	for name, value := range j.behaviour.Annotations {
		all[strings.ReplaceAll(name, "{digest}", payload.Target.Digest)] = strings.ReplaceAll(value, "{digest}", payload.Target.Digest)
	}
	return all
}

func (j *job) envelopeType() string {
	switch right := j.request.SignatureEnvelopeType; {
	case j.fault.Kind != kmstest.WrongEnvelopeType:
		return right
	case right == jws.MediaTypeEnvelope:
		return cose.MediaTypeEnvelope
	default:
		return jws.MediaTypeEnvelope
	}
}

// otherTarget makes the payload speak of another image.
func otherTarget(payload []byte) ([]byte, error) {
	var statement map[string]map[string]any
	if err := json.Unmarshal(payload, &statement); err != nil || statement["targetArtifact"] == nil {
		return nil, plugin.NewValidationErrorf("payload is no Notation payload: %v", err)
	}
	statement["targetArtifact"]["digest"] = digest.FromString("another image").String()
	return json.Marshal(statement)
}
