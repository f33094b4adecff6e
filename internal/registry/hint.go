package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// hint returns what a person can do about an error, or nothing.
func (r *Repository) hint(err error) string {
	if h := hint(err); h != "" {
		return h
	}
	var answer *errcode.ErrorResponse
	if r.remote.PlainHTTP && errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest && len(answer.Errors) == 0 {
		return "if that is a port with TLS, reach it without --plain-http, and not as one of plain-http-hosts in the configuration"
	}
	hint, _ := r.hintLogin(err)
	return hint
}

// hintLogin says whose login to check after a refusal. It gives no such hint if the user is known and lacks the
// right, or if credentials would have gone to a stranger. cause says what is wrong with the login, if anything.
func (r *Repository) hintLogin(err error) (hint, cause string) {
	if classify(err) != failure.Denied || transport.Unsent(err) {
		return "", ""
	}
	may := "pull from and push to this repository"
	switch {
	case r.readOnly:
		may = "pull from this repository"
	case r.deleting:
		may = "pull from, push to and delete in this repository"
	}
	login := "docker login " + r.remote.Reference.Registry + ", or give -u and --password-stdin, as a user who may " + may
	switch _, loggedIn := r.of.users.Load(r.remote.Reference.Host()); {
	case !loggedIn:
		return "log in with " + login, "it requires a login"
	case r.lacksRight(err):
		return "the user who is logged in may not do that: have the right granted, or use the login of a user who may " + may, ""
	}
	return "the login is refused: log in again with " + login, "it rejects the login"
}

// A loginError is an error by which the registry refuses everything until somebody logs in.
type loginError struct {
	error
	cause string
}

func (e *loginError) Unwrap() error { return e.error }

// hostCause returns in a few words what is wrong with a whole registry, if that caused the error: it is down or
// unknown, or refuses the login. It is empty if the error concerns one repository or image.
func hostCause(err error) string {
	var login *loginError
	switch {
	case errors.As(err, &login):
		return login.cause
	case unknownHost(err):
		return "its host name cannot be resolved"
	case transport.UntrustedTLS(err):
		return "its certificate is not trusted"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it answers without TLS"
	case transport.Unreachable(err):
		return "it cannot be reached"
	}
	return ""
}

// lacksRight reports whether a known user was refused for a missing permission rather than a wrong password.
func (r *Repository) lacksRight(err error) bool {
	var answer *errcode.ErrorResponse
	if !errors.As(err, &answer) {
		return false
	}
	if answer.StatusCode == http.StatusForbidden || hasCode(err, errcode.ErrorCodeDenied) {
		return true
	}
	// The token server accepted the password, but its token does not suffice here.
	scheme, unknown := r.client.Cache.GetScheme(context.Background(), r.remote.Reference.Host())
	return unknown == nil && scheme == auth.SchemeBearer && answer.URL != nil && strings.HasPrefix(answer.URL.Path, "/v2/"+r.remote.Reference.Repository+"/")
}

// readOnlyTexts match what registries say that accept no pushes from anybody.
var readOnlyTexts = regexp.MustCompile(`(?i)read[- ]?only|proxy (project|cache)|pull[- ]through`)

// isReadOnly reports whether the registry accepts no pushes. As a mirror or in maintenance, docker-registry answers
// 405 UNSUPPORTED.
func isReadOnly(err error) bool {
	var answer *errcode.ErrorResponse
	if noToken(err) || !errors.As(err, &answer) || !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, answer.Method) {
		return false
	}
	return answer.StatusCode == http.StatusMethodNotAllowed || slices.ContainsFunc(answer.Errors, func(e errcode.Error) bool {
		return readOnlyTexts.MatchString(fmt.Sprint(e.Code, " ", e.Message, " ", e.Detail))
	})
}

const hintMoved = "; where the registry has another name now, map in the configuration says where its images are"

// hint returns the hint for the error alone, whatever is known of the repository.
func hint(err error) string {
	var bound *boundError
	switch {
	case transport.Hint(err) != "":
		return transport.Hint(err)
	case errors.As(err, &bound) && bound.flag != "":
		return bound.flag + " raises that"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "it answers without TLS: name it under plain-http-hosts in the configuration, or give --plain-http, which reaches all registries so"
	case errors.As(err, new(x509.HostnameError)):
		return "its certificate is for another name" + hintMoved
	case transport.UntrustedTLS(err):
		return "name the certificate of the registry's authority with --ca-file, or put it where docker looks: ~/.docker/tls/<host>/ca.crt"
	case unknownHost(err):
		return "check the name, and whether this machine can resolve it" + hintMoved
	case errors.Is(err, ErrDeleteRefused):
		return "docker-registry deletes only where it was started with REGISTRY_STORAGE_DELETE_ENABLED=true; elsewhere it may be a setting of the repository, or a locked image"
	case errors.Is(err, ErrDangling):
		return "somebody may have deleted the signature and left its entry: notation list shows it; without a referrers API the list is the index under the tag sha256-..., which oras manifest fetch and oras manifest push change"
	case errors.Is(err, errHiddenAPI):
		return "check what answers at /v2/<repository>/referrers/, such as a proxy, and run again; nothing is lost, and existing signatures will only be pushed. If this registry no longer has a referrers API, give --force-referrers-tag: signatures are then listed under tags, and those that the API listed are not found"
	case errors.Is(err, errRefusedAPI):
		return "if this registry has no referrers API, give --force-referrers-tag: signatures are listed under tags then, where notation finds them too"
	case errors.Is(err, errSilent):
		return "find out what answers at that address, the registry or a proxy before it, and whether this user may list the repository's tags; then run again"
	case errors.Is(err, errForeign404):
		return "find out what answers at that address, the registry or a proxy or mirror before it, and run again"
	case errors.Is(err, errNoRepository):
		return "is the name right, or were the images moved to another place? then map in the configuration says where"
	case classify(err) == failure.Full:
		return "there is no room left for signatures (a quota of the registry, of the project or of the number of images in the repository; this is no question of permissions): have it raised, or remove what is not needed, and run again. What is signed already is in the ledger and will only be pushed"
	case isImmutable(err):
		return "tags of this repository cannot be changed, and where there is no referrers API signatures are listed in tags: exempt those that begin with sha256- (in Harbor: the project's Policy, tag immutability; in ECR: exclusion filters of image tag mutability), and run again"
	case isReadOnly(err):
		return "nothing can be stored there: the registry, project or repository is read-only, or a mirror of another one, and no login changes that; its administrator knows when that ends, or where images are pushed, which map in the configuration says"
	case errors.Is(err, errNoList):
		return "look what it is with oras manifest fetch, and have it moved to another tag; it is not replaced"
	case refusedByPolicy(err):
		return "a policy of the project refuses this image (in Harbor: PROJECTPOLICYVIOLATION, content trust or vulnerabilities); its administrator finds it under the project's Configuration"
	case strings.Contains(err.Error(), "bearer realm host"):
		return "the registry's token server is on another host with a private address, to which credentials are not sent"
	}
	return ""
}

// unknownHost reports whether the registry's own name, not a proxy's, does not resolve.
func unknownHost(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) && dns.IsNotFound && !(errors.As(err, &op) && op.Op == "proxyconnect")
}
