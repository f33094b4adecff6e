// Package fault carries an error's Notation protocol code and its hint from
// where they are known to where the answer is written.
//
// The plugin framework keeps a code only if the error it gets is a
// *plugin.Error itself; a wrapped one becomes ERROR. So the code of this plugin
// wraps freely, and Protocol makes the one conversion at the edge.
package fault

import (
	"errors"
	"fmt"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// A Fault is an error that knows what the caller of the plugin shall be told.
// It never holds a PIN: neither field is made from one.
type Fault struct {
	Code  plugin.ErrorCode
	Hint  string // what the operator can do; may be empty
	Cause error  // what is wrong
}

// Error tells what is wrong. The hint is left to Protocol, which puts it last
// however often the fault was wrapped.
func (f *Fault) Error() string { return f.Cause.Error() }

// Unwrap returns what is wrong, so that sentinels below a fault stay visible.
func (f *Fault) Unwrap() error { return f.Cause }

// Invalid is an invalid request or configuration, so that a retry cannot help.
func Invalid(hint, format string, args ...any) error {
	return &Fault{plugin.ErrorCodeValidation, hint, fmt.Errorf(format, args...)}
}

// Denied is a token that does not let us in. Repeating it may lock the token.
func Denied(hint, format string, args ...any) error {
	return &Fault{plugin.ErrorCodeAccessDenied, hint, fmt.Errorf(format, args...)}
}

// Protocol turns any error into the answer of the protocol: the outermost
// fault's code, else ERROR; the whole text; the hint on a line of its own.
// It returns nil for nil. The result has to be returned unwrapped.
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
