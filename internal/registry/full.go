package registry

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"oras.land/oras-go/v2/registry/remote/errcode"
)

// fullTexts match what registries say when they have no room left. The specification has no code or status for that:
// most answer 403 DENIED, as for a missing permission.
//
//	Harbor        adding 1.3 MiB of storage resource, which when updated to current usage of ... will exceed the configured upper limit of ...
//	ECR           The repository with name ... already has the maximum allowed number of images which is '10000'
//	DigitalOcean  registry contains 1 repositories, limit is 1
//	distribution  no space left on device
//	others        quota, in many words
var fullTexts = regexp.MustCompile(`(?i)quota|exceed the configured upper limit|maximum (allowed )?number of|LimitExceeded|contains \d+ repositories, limit is|(storage|size) limit|insufficient storage|no space left on device`)

// isFull reports whether the registry refused to store something because the registry, a project or a repository has
// no room. A 429 is throttling, though some call that a quota too. Reads need no room.
func isFull(e *errcode.ErrorResponse) bool {
	storing := slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, e.Method)
	if !storing || e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusNotFound {
		return false
	}
	if e.StatusCode == http.StatusInsufficientStorage {
		return true
	}
	for _, one := range e.Errors {
		if fullTexts.MatchString(fmt.Sprint(one.Code, " ", one.Message, " ", one.Detail)) {
			return true
		}
	}
	return false
}
