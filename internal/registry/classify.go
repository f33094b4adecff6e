package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// A Class says what an error of this package means for what to do next.
type Class string

const (
	NotFound  Class = "notfound"  // the registry itself says it is not there: a *lookup.AbsentError
	Auth      Class = "auth"      // credentials, permissions or a project's policy are in the way
	Full      Class = "full"      // there is no room left for what is pushed
	Throttled Class = "throttled" // the registry is busy; later
	Transient Class = "transient" // network or server trouble, or a timeout; again
	Permanent Class = "permanent" // again would end the same; unknown errors are here
	Integrity Class = "integrity" // the registry's answer contradicts itself; never again
	Canceled  Class = "canceled"  // our own context ended
)

// codeHarborPolicy is Harbor's, with status 412. HEAD has only the status.
const codeHarborPolicy = "PROJECTPOLICYVIOLATION"

func refusedByPolicy(err error) bool {
	var answer *errcode.ErrorResponse
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusPreconditionFailed || hasCode(err, codeHarborPolicy))
}

// Classify classes an error; of nil it is empty.
func Classify(err error) Class {
	var busy *transport.ThrottledError
	var realm *transport.RealmError
	var answer *errcode.ErrorResponse
	switch {
	case err == nil:
		return ""
	case isIntegrity(err):
		return Integrity
	case errors.Is(err, context.Canceled):
		return Canceled
	case lookup.IsAbsent(err):
		return NotFound
	case errors.As(err, &busy):
		return Throttled
	case errors.As(err, &realm):
		return Auth
	case errors.As(err, &answer):
		return classOf(answer)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return Auth
	case transport.Transient(err):
		return Transient
	}
	return Permanent
}

// classOf classes an answer, by its error code where that says more than the status.
func classOf(e *errcode.ErrorResponse) Class {
	switch {
	case e.StatusCode == http.StatusTooManyRequests, hasCode(e, "TOOMANYREQUESTS"):
		return Throttled
	case isFull(e):
		return Full
	case hasCode(e, errcode.ErrorCodeBlobUploadUnknown), hasCode(e, errcode.ErrorCodeManifestBlobUnknown):
		return Transient // an upload or a blob that went away; a push starts with both
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden,
		hasCode(e, errcode.ErrorCodeUnauthorized), hasCode(e, errcode.ErrorCodeDenied), refusedByPolicy(e):
		return Auth
	case e.StatusCode >= 500, e.StatusCode == http.StatusRequestTimeout:
		return Transient
	}
	return Permanent
}

func isIntegrity(err error) bool {
	for _, e := range []error{ErrIntegrity, ErrNotSignature, content.ErrMismatchedDigest, content.ErrTrailingData, content.ErrInvalidDescriptorSize} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hasCode tells whether the registry's answer holds an error code, alone or among others.
func hasCode(err error, code string) bool {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return false
	}
	for _, e := range answer.Errors {
		if e.Code == code {
			return true
		}
	}
	return false
}

// hint says what a person can do about an error, or nothing.
func hint(err error) string {
	switch {
	case errors.Is(err, ErrDeleteRefused):
		return "docker-registry deletes only where it was started with REGISTRY_STORAGE_DELETE_ENABLED=true; elsewhere it may be a setting of the repository, or a locked image"
	case errors.Is(err, ErrDangling):
		return "somebody may have deleted the signature and left its entry: notation list shows it; without a referrers API the list is the index under the tag sha256-..., which oras manifest fetch and oras manifest push change"
	case errors.Is(err, errForeign404):
		return "find out what answers at that address, the registry or a proxy or mirror before it, and run again"
	case errors.Is(err, errNoRepository):
		return "were the images moved to another place? then map in the configuration says where"
	case Classify(err) == Full:
		return "there is no room left for signatures (a quota of the registry, of the project or of the number of images in the repository; this is no question of permissions): have it raised, or remove what is not needed, and run again. What is signed already is in the ledger and will only be pushed"
	case refusedByPolicy(err):
		return "a policy of the project refuses this image (in Harbor: PROJECTPOLICYVIOLATION, content trust or vulnerabilities); its administrator finds it under the project's Configuration"
	case strings.Contains(err.Error(), "bearer realm host"):
		return "the registry's token server is on another host with a private address, to which credentials are not sent"
	}
	return ""
}
