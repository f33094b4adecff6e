package notation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Class sorts failures by what to do about them.
type Class string

// The classes of failures to sign.
const (
	Throttled Class = "throttled" // the key's service asks for fewer requests
	Transient Class = "transient" // may work when tried again
	Denied    Class = "denied"    // the key refuses us: every other item would fail too
	Permanent Class = "permanent" // trying again cannot help
	Security  Class = "security"  // something signed other than was asked for
)

// Error is a failure to sign, with its class. Its text is safe to show.
type Error struct {
	Class Class
	Err   error
	Hint  string // what to do; may be empty
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "\nhint: " + e.Hint
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf finds the class of an error of this package; anything else is permanent.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Transient
	}
	return Permanent
}

// classify sorts what a plugin said. The protocol has codes for it, and plugins in the
// field rarely use them: Azure's passes on its service's own codes, Vault's and AWS's
// hide throttling in the text of ERROR.
//
// SPEC (Notary Project, plugin-extensibility): TIMEOUT and THROTTLED may be retried.
func classify(code, message string) Class {
	text := strings.ToUpper(code + " " + message)
	for _, sign := range []string{"THROTTL", "TOO MANY REQUESTS", "TOOMANYREQUESTS", "CODE: 429", "RATE LIMIT", "RESOURCE_EXHAUSTED"} {
		if strings.Contains(text, sign) {
			return Throttled
		}
	}
	switch {
	case code == "TIMEOUT", strings.Contains(text, "503"):
		return Transient
	case code == "ACCESS_DENIED", code == "VALIDATION_ERROR", code == "UNSUPPORTED_CONTRACT_VERSION", strings.Contains(text, "FORBIDDEN"):
		return Denied
	}
	return Transient
}

// pluginError is an error that the plugin itself reported.
func pluginError(name, command, code, message string, secrets confidant) *Error {
	e := &Error{
		Class: classify(code, message),
		Err: fmt.Errorf("plugin %s: %s: %s: %s", shown(name), command,
			shown(secrets.hide(code)), safetext.Safe(secrets.hide(message), 512)),
	}
	if e.Class == Denied {
		e.Hint = "check the key id, the plugin's configuration, its credentials and its permission to sign"
	}
	return e
}

// shown is a name, or another text of a few words, fit to be shown.
func shown(name string) string { return safetext.Safe(name, 64) }
