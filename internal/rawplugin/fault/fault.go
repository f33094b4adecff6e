// Package fault carries an error with its Notation protocol code and hint to the place that writes the answer.
//
// The plugin framework keeps a code only if the error itself is a *plugin.Error; a wrapped one becomes ERROR. So this
// plugin's code wraps freely, and Protocol converts once at the edge.
package fault

import (
	"errors"
	"fmt"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// A Fault is an error with what to tell the caller of the plugin. It never holds a PIN: neither field is made from
// one.
type Fault struct {
	Code  plugin.ErrorCode
	Hint  string // what the operator can do; may be empty
	Cause error  // what is wrong
}

// Error says what is wrong. It leaves the hint to Protocol, which puts it last however often the fault was wrapped.
func (f *Fault) Error() string { return f.Cause.Error() }

// Unwrap returns what is wrong, so that sentinels below a fault stay visible.
func (f *Fault) Unwrap() error { return f.Cause }

// Invalid returns the error for an invalid request or configuration, against which a retry cannot help.
func Invalid(hint, format string, args ...any) error {
	return &Fault{plugin.ErrorCodeValidation, hint, fmt.Errorf(format, args...)}
}

// Denied returns the error for a token that does not let us in. A retry may lock the token.
func Denied(hint, format string, args ...any) error {
	return &Fault{plugin.ErrorCodeAccessDenied, hint, fmt.Errorf(format, args...)}
}

// Protocol converts any error to the protocol's answer: the outermost fault's code, else ERROR; the whole text; the
// hint on a line of its own. It returns nil for nil. Return the result unwrapped.
func Protocol(err error) *plugin.Error {
	if err == nil {
		return nil
	}
	var f *Fault
	if !errors.As(err, &f) {
		return plugin.NewGenericError(err.Error())
	}
	text := err.Error()
	if f.Hint != "" {
		text += "\nhint: " + f.Hint
	}
	return plugin.NewError(f.Code, text)
}
