package notation

import (
	"context"
	"errors"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/failure"
)

// signRequest is the plugin for a single signature. notation-go flattens plugins' errors to text, so signRequest
// remembers them, and retries throttled calls below notation-go.
type signRequest struct {
	*pluginClient
	pace  *pace
	cause error
}

// GenerateSignature calls the key, and retries while it throttles.
func (j *signRequest) GenerateSignature(ctx context.Context, req *plugin.GenerateSignatureRequest) (*plugin.GenerateSignatureResponse, error) {
	return paced(ctx, j, func() (*plugin.GenerateSignatureResponse, error) { return j.pluginClient.GenerateSignature(ctx, req) })
}

// GenerateEnvelope calls the key, and retries while it throttles.
func (j *signRequest) GenerateEnvelope(ctx context.Context, req *plugin.GenerateEnvelopeRequest) (*plugin.GenerateEnvelopeResponse, error) {
	return paced(ctx, j, func() (*plugin.GenerateEnvelopeResponse, error) { return j.pluginClient.GenerateEnvelope(ctx, req) })
}

func paced[T any](ctx context.Context, j *signRequest, call func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		if err := j.pace.enter(ctx); err != nil {
			var none T
			j.cause = err
			return none, err
		}
		v, err := call()
		if err == nil {
			j.pace.ok()
			return v, nil
		}
		var e *failure.Error
		if !errors.As(err, &e) || e.Class != failure.Throttled || j.pace.hopeless(try) {
			j.cause = err
			return v, err
		}
		j.pace.hit()
	}
}
