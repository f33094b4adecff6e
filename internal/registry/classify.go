package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// codeHarborPolicy is Harbor's code with status 412. The answer to HEAD has only the status.
const codeHarborPolicy = "PROJECTPOLICYVIOLATION"

func refusedByPolicy(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusPreconditionFailed || hasCode(err, codeHarborPolicy))
}

// immutableTexts match what registries say of a tag that must not be changed.
//
//	Harbor  412 PRECONDITION  Failed to process request due to 'sha256-...' configured as immutable.
//	ECR     400 TAG_INVALID   The image tag 'sha256-...' already exists in the '...' repository and cannot be overwritten because the tag is immutable.
var immutableTexts = regexp.MustCompile(`(?i)immutable|ImageTagAlreadyExists`)

// isImmutable reports whether the registry refused to change a tag because it is immutable.
func isImmutable(err error) bool {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) || answer.Method != http.MethodPut && answer.Method != http.MethodDelete || answer.StatusCode < 400 || answer.StatusCode >= 500 {
		return false
	}
	return slices.ContainsFunc(answer.Errors, func(e errcode.Error) bool {
		return immutableTexts.MatchString(fmt.Sprint(e.Code, " ", e.Message, " ", e.Detail))
	})
}

// classed returns an error as it leaves this package: with its class, and with the cause if the whole registry is at
// fault. An error that only says that ctx has ended stays as it is.
func classed(err error) error {
	class := classify(err)
	if class == "" {
		return err
	}
	cause := hostCause(err)
	var before *failure.Error
	if errors.As(err, &before) && before.Class == class && failure.HostCause(err) == cause {
		return err // classed by an exported method that this one called
	}
	if cause != "" {
		err = &failure.OfHost{Cause: cause, Err: err}
	}
	return failure.New(class, err)
}

// classedAnswer classifies the error of an unknown answer, as classed does.
func classedAnswer[T any](a lookup.Answer[T]) lookup.Answer[T] {
	if err := a.Err(); err != nil {
		return lookup.Unknown[T](classed(err))
	}
	return a
}

// classify returns the class of an error of this package, or the empty class for nil and for the end of our own
// context.
func classify(err error) failure.Class {
	var busy *transport.ThrottledError
	var realm *transport.RealmError
	var login *transport.ChallengeError
	var answer *errcode.ErrorResponse
	switch {
	case err == nil:
		return ""
	case isIntegrity(err):
		return failure.Security
	case errors.Is(err, context.Canceled):
		return ""
	case lookup.IsAbsent(err):
		return failure.Missing
	case errors.As(err, &busy):
		return failure.Throttled
	case errors.As(err, &realm), errors.As(err, &login):
		return failure.Denied
	case errors.Is(err, ErrListMoved), errors.Is(err, errNotSure):
		return failure.Transient
	case errors.As(err, &answer):
		return classOf(answer)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return failure.Denied
	case transport.Transient(err):
		return failure.Transient
	}
	return failure.Permanent
}

// classOf classifies an answer, by its error code if that says more than the status.
func classOf(e *errcode.ErrorResponse) failure.Class {
	switch {
	case e.StatusCode == http.StatusTooManyRequests, hasCode(e, "TOOMANYREQUESTS"):
		return failure.Throttled
	case isFull(e):
		return failure.Full
	case hasCode(e, errcode.ErrorCodeBlobUploadUnknown), hasCode(e, errcode.ErrorCodeManifestBlobUnknown):
		return failure.Transient // an upload or a blob disappeared; a push starts with both
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden,
		hasCode(e, errcode.ErrorCodeUnauthorized), hasCode(e, errcode.ErrorCodeDenied), refusedByPolicy(e), isImmutable(e):
		return failure.Denied
	case e.StatusCode == http.StatusNotImplemented:
		return failure.Permanent
	case e.StatusCode >= 500, e.StatusCode == http.StatusRequestTimeout:
		return failure.Transient
	}
	return failure.Permanent
}

func isIntegrity(err error) bool {
	for _, e := range []error{ErrIntegrity, ErrNotSignature, content.ErrMismatchedDigest, content.ErrTrailingData, content.ErrInvalidDescriptorSize} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// codesOf returns the error codes of the registry's answer, or none if the error is not an answer.
func codesOf(err error) []string {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return nil
	}
	var codes []string
	for _, e := range answer.Errors {
		codes = append(codes, e.Code)
	}
	return codes
}

// hasCode reports whether the registry's answer holds an error code, alone or among others.
func hasCode(err error, code string) bool { return slices.Contains(codesOf(err), code) }

// onlyCodes reports whether the registry's answer holds at least one of these error codes and no other.
func onlyCodes(err error, these ...string) bool {
	codes := codesOf(err)
	return len(codes) > 0 && !slices.ContainsFunc(codes, func(c string) bool { return !slices.Contains(these, c) })
}
