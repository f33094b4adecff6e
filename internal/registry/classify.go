package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
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

// immutableTexts are what registries say of a tag that may not be changed.
//
//	Harbor  412 PRECONDITION  Failed to process request due to 'sha256-...' configured as immutable.
//	ECR     400 TAG_INVALID   The image tag 'sha256-...' already exists in the '...' repository and cannot be overwritten because the tag is immutable.
var immutableTexts = regexp.MustCompile(`(?i)immutable|ImageTagAlreadyExists`)

// isImmutable reports whether the registry refused to change a tag, as it would for anybody.
func isImmutable(err error) bool {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) || answer.Method != http.MethodPut && answer.Method != http.MethodDelete || answer.StatusCode < 400 || answer.StatusCode >= 500 {
		return false
	}
	return slices.ContainsFunc(answer.Errors, func(e errcode.Error) bool {
		return immutableTexts.MatchString(fmt.Sprint(e.Code, " ", e.Message, " ", e.Detail))
	})
}

// Classify classes an error; of nil it is empty.
func Classify(err error) Class {
	var busy *transport.ThrottledError
	var realm *transport.RealmError
	var login *transport.ChallengeError
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
	case errors.As(err, &realm), errors.As(err, &login):
		return Auth
	case errors.Is(err, ErrListMoved):
		return Transient
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
		hasCode(e, errcode.ErrorCodeUnauthorized), hasCode(e, errcode.ErrorCodeDenied), refusedByPolicy(e), isImmutable(e):
		return Auth
	case e.StatusCode == http.StatusNotImplemented:
		return Permanent
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

// codesOf returns the error codes of the registry's answer; none where an error is no answer.
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

// onlyCodes reports whether the registry's answer holds some of these error codes and no other.
func onlyCodes(err error, these ...string) bool {
	codes := codesOf(err)
	return len(codes) > 0 && !slices.ContainsFunc(codes, func(c string) bool { return !slices.Contains(these, c) })
}

// hint says what a person can do about an error, or nothing.
func hint(err error) string {
	switch {
	case errors.Is(err, ErrDeleteRefused):
		return "docker-registry deletes only where it was started with REGISTRY_STORAGE_DELETE_ENABLED=true; elsewhere it may be a setting of the repository, or a locked image"
	case errors.Is(err, ErrDangling):
		return "somebody may have deleted the signature and left its entry: notation list shows it; without a referrers API the list is the index under the tag sha256-..., which oras manifest fetch and oras manifest push change"
	case errors.Is(err, errHiddenAPI):
		return "find out what answers at /v2/<repository>/referrers/, a proxy perhaps, and run again; nothing is lost, and what is signed already will only be pushed. If this registry really has no referrers API any more, --force-referrers-tag says so: signatures are listed under tags then, and those that the API listed are not seen"
	case errors.Is(err, errRefusedAPI):
		return "if this registry has no referrers API, give --force-referrers-tag: signatures are listed under tags then, where notation finds them too"
	case errors.Is(err, errSilent):
		return "find out what answers at that address, the registry or a proxy before it, and whether this user may list the repository's tags; then run again"
	case errors.Is(err, errForeign404):
		return "find out what answers at that address, the registry or a proxy or mirror before it, and run again"
	case errors.Is(err, errNoRepository):
		return "were the images moved to another place? then map in the configuration says where"
	case Classify(err) == Full:
		return "there is no room left for signatures (a quota of the registry, of the project or of the number of images in the repository; this is no question of permissions): have it raised, or remove what is not needed, and run again. What is signed already is in the ledger and will only be pushed"
	case isImmutable(err):
		return "tags of this repository cannot be changed, and where there is no referrers API signatures are listed in tags: exempt those that begin with sha256- (in Harbor: the project's Policy, tag immutability; in ECR: exclusion filters of image tag mutability), and run again"
	case errors.Is(err, errNoList):
		return "look what it is with oras manifest fetch, and have it moved to another tag; it is not replaced"
	case refusedByPolicy(err):
		return "a policy of the project refuses this image (in Harbor: PROJECTPOLICYVIOLATION, content trust or vulnerabilities); its administrator finds it under the project's Configuration"
	case strings.Contains(err.Error(), "bearer realm host"):
		return "the registry's token server is on another host with a private address, to which credentials are not sent"
	}
	return ""
}
