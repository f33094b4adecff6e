package notation

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// ErrFile marks errors about a file that the configuration names and that is missing, unreadable or not what it
// should be.
var ErrFile = errors.New("file")

// fileError is an error that is also ErrFile.
type fileError struct{ error }

func (e fileError) Is(target error) bool { return target == ErrFile }
func (e fileError) Unwrap() error        { return e.error }

// Signs of what went wrong, in the words of services and their libraries, in upper case.
var (
	throttledWords = []string{
		"THROTTL", "TOO MANY REQUESTS", "TOOMANYREQUESTS", "RATE LIMIT", "RATELIMITEXCEEDED", "RATE EXCEEDED", "REQUEST LIMIT EXCEEDED",
		"LIMITEXCEEDEDEXCEPTION", "QUOTA EXCEEDED", "RESOURCE_EXHAUSTED", "RESOURCEEXHAUSTED",
	}
	deniedWords = []string{
		"FORBIDDEN", "UNAUTHORIZED", "PERMISSION DENIED", "PERMISSIONDENIED", "PERMISSION_DENIED", "ACCESSDENIED", "ACCESS DENIED", "EXPIREDTOKEN",
		"CERTIFICATENOTFOUND", "AADSTS700", "NO EC2 IMDS ROLE",
	}
	transientWords = []string{
		"SERVICE UNAVAILABLE", "INTERNAL SERVER ERROR", "BAD GATEWAY", "GATEWAY TIMEOUT", "CONNECTION REFUSED", "CONNECTION RESET", "BROKEN PIPE",
		"NO SUCH HOST", "NETWORK IS UNREACHABLE", "I/O TIMEOUT", "TIMED OUT", "DEADLINE EXCEEDED", "UNEXPECTED EOF",
	}
	// A status counts only as a separate word: 503 is also in account numbers.
	throttledStatus, deniedStatus, transientStatus = regexp.MustCompile(`\b429\b`), regexp.MustCompile(`\b40[13]\b`), regexp.MustCompile(`\b(408|50[0-9])\b`)
)

// classify derives a class from a plugin's error. The protocol has codes for this, but plugins rarely use them:
// Azure's passes on its service's codes, Vault's and AWS's hide throttling in the text of ERROR, Venafi's calls
// everything VALIDATION_ERROR.
//
// SPEC (Notary Project, plugin-extensibility): TIMEOUT and THROTTLED may be retried.
func classify(code, message string) failure.Class {
	text := strings.ToUpper(code + " " + message)
	has := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case code == "ACCESS_DENIED":
		return failure.Denied
	case has(throttledWords), throttledStatus.MatchString(text):
		return failure.Throttled
	case code == "TIMEOUT":
		return failure.Transient
	case has(deniedWords):
		return failure.Denied
	case has(transientWords):
		return failure.Transient
	case deniedStatus.MatchString(text):
		return failure.Denied
	case transientStatus.MatchString(text):
		return failure.Transient
	case code == "VALIDATION_ERROR", code == "UNSUPPORTED_CONTRACT_VERSION":
		return failure.Denied
	}
	return failure.Transient
}

// pluginError returns an error that the plugin itself reported. A plugin can say what to do about it in a separate
// line that begins with "hint: ", as notation-pkcs11 does.
func pluginError(name, command, code, message string, secrets redactor) *failure.Error {
	message, hint, _ := strings.Cut(message, "\nhint: ")
	e := failure.New(classify(code, message), fmt.Errorf("plugin %s: %s: %s: %s", shown(name), command,
		shown(secrets.hide(code)), safetext.Safe(secrets.hide(message), 512)))
	switch {
	case hint != "":
		e.Hint = safetext.Safe(secrets.hide(hint), 512)
	case e.Class == failure.Throttled:
		e.Hint = "the key service allows fewer operations per second: limit them with --key-rate"
	case e.Class == failure.Denied:
		e.Hint = "check the key id, the plugin's configuration, its credentials and its permission to sign"
	}
	return e
}

// shown makes a name, or another short text, fit to be shown.
func shown(name string) string { return safetext.Safe(name, 64) }
