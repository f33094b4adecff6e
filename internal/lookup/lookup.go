// Package lookup holds the answer to the question whether something exists: it was found, an authority said that it
// does not exist, or it is unknown. The third is the usual trap: a proxy's 404, a lost page or a timeout is no
// evidence of absence, and code that keeps the answer in a bool or an empty string takes it for one.
//
// An [Answer] is made by [Found], [Absent] or [Unknown]; its zero value is unknown, so an answer that nobody filled
// in never passes for absence. Functions that return an error beside their value say the same by an [*AbsentError] in
// that error; [Of] and [Answer.Result] translate between the two forms.
package lookup

import (
	"errors"
	"fmt"
)

// Authority names who said that something does not exist.
type Authority string

// The authorities. Each is trusted only for what it holds itself: a registry for its manifests, a Notary server for
// its trust data.
const (
	Registry    Authority = "registry"      // by an error code of the distribution specification, or a complete list
	Notary      Authority = "Notary server" // by its own error code
	Snapshot    Authority = "snapshot"
	Dump        Authority = "dump"
	DockerTrust Authority = "docker's trust directory"
	Cache       Authority = "cache" // of files read earlier
)

// An Answer to the question whether a T exists. The zero value is unknown.
type Answer[T any] struct {
	value T
	found bool
	by    Authority
	err   error
}

// Found returns the answer that it exists.
func Found[T any](value T) Answer[T] { return Answer[T]{value: value, found: true} }

// Absent returns the answer that it does not exist, on the word of the authority. Without an authority the answer is
// unknown.
func Absent[T any](by Authority) Answer[T] { return Answer[T]{by: by} }

// Unknown returns the answer that nobody could find out, with the reason.
func Unknown[T any](err error) Answer[T] { return Answer[T]{err: err} }

// Of makes an answer from a value and an error: absent if the error holds an [*AbsentError], unknown for any other
// error, else found.
func Of[T any](value T, err error) Answer[T] {
	var absent *AbsentError
	switch {
	case errors.As(err, &absent):
		return Absent[T](absent.By)
	case err != nil:
		return Unknown[T](err)
	}
	return Found(value)
}

// Value returns what was found, and reports whether anything was.
func (a Answer[T]) Value() (T, bool) { return a.value, a.found }

// Absent returns who said that it does not exist, and reports whether somebody did.
func (a Answer[T]) Absent() (Authority, bool) { return a.by, !a.found && a.by != "" }

// Err returns why the answer is unknown, or nil if it is known.
func (a Answer[T]) Err() error {
	switch {
	case a.found || a.by != "":
		return nil
	case a.err == nil:
		return errNotAsked
	}
	return a.err
}

// Result returns the answer as a value and an error: an [*AbsentError] if it is absent.
func (a Answer[T]) Result() (T, error) {
	if by, absent := a.Absent(); absent {
		return a.value, &AbsentError{By: by}
	}
	return a.value, a.Err()
}

var errNotAsked = errors.New("nobody was asked")

// AbsentError reports that what was asked for does not exist, and who says so.
type AbsentError struct {
	By   Authority
	What string // what was asked for, for people; may be empty
	Err  error  // the answer it rests on; may be nil
}

func (e *AbsentError) Error() string {
	text := fmt.Sprintf("the %s has no %s", e.By, orDefault(e.What, "such thing"))
	if e.By == DockerTrust {
		text = fmt.Sprintf("%s has no %s", e.By, orDefault(e.What, "such thing"))
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the answer that the absence rests on.
func (e *AbsentError) Unwrap() error { return e.Err }

// IsAbsent reports whether an error says, by an authority's word, that something does not exist.
func IsAbsent(err error) bool {
	var absent *AbsentError
	return errors.As(err, &absent) && absent.By != ""
}

func orDefault(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
