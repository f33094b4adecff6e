package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// Error codes of KMS and of the services that check requests before it, by what they mean to the caller of the
// plugin. All others, and errors without a code, may be temporary.
var (
	deniedCodes = []string{
		"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId",
		"InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired",
		"RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
	}
	invalidCodes = []string{
		"DisabledException", "InvalidAliasNameException", "InvalidArnException", "InvalidKeyUsageException", "KMSInvalidStateException",
		"NotFoundException", "UnsupportedOperationException", "ValidationError", "ValidationException",
	}
	timeoutCodes = []string{"DependencyTimeoutException", "RequestTimeout", "RequestTimeoutException"}
)

// explain turns an error of the AWS SDK into a fault with the protocol's code, and says what was being done.
func explain(err error, format string, args ...any) *fault.Fault {
	f := &fault.Fault{Code: plugin.ErrorCodeGeneric, Hint: "see that AWS_REGION and AWS_ENDPOINT_URL are right and the endpoint can be reached"}
	var api smithy.APIError
	var network net.Error
	switch {
	case errors.As(err, &api):
		f.Code, f.Hint = meaning(api.ErrorCode())
		// Without the SDK's details of the request: numbers in it look like codes.
		err = fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		f.Code = plugin.ErrorCodeTimeout
	}
	f.Cause = fmt.Errorf(format+": %w", append(args, err)...)
	return f
}

func meaning(code string) (plugin.ErrorCode, string) {
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	switch {
	case throttled:
		return plugin.ErrorCodeThrottled, "the account takes fewer requests for this kind of key than it gets: dct2notation's --key-rate bounds them"
	case slices.Contains(deniedCodes, code):
		return plugin.ErrorCodeAccessDenied, "see that the credentials are valid and allow kms:GetPublicKey and kms:Sign with this key"
	case slices.Contains(invalidCodes, code):
		return plugin.ErrorCodeValidation, "see that --id is an enabled signing key of this region and account: its id, ARN or alias/NAME"
	case slices.Contains(timeoutCodes, code):
		return plugin.ErrorCodeTimeout, ""
	}
	return plugin.ErrorCodeGeneric, ""
}

// denied is explain for credentials that are not available. Trying again helps only if their own service throttles or
// cannot be reached. The service of an instance, which is tried last, counts as having no credentials if it does not
// answer.
func denied(err error, doing string) error {
	f := explain(err, doing)
	var operation *smithy.OperationError
	var network net.Error
	isRemote := errors.As(err, &operation) && operation.Service() != imds.ServiceID
	if f.Code != plugin.ErrorCodeThrottled && !(isRemote && errors.As(err, &network)) {
		f.Code, f.Hint = plugin.ErrorCodeAccessDenied, "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where the AWS SDK finds a role"
	}
	return f
}
