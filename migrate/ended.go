package migrate

// Ended is why a run or plan ended early. Engine.Observe has been given the cause already, with its item or
// repository.
type Ended struct {
	Kind  error  // ErrStopped, ErrKeyAstray, ErrNotVouched or ErrNothingRead
	What  string // in a few words; may be empty
	Cause error  // the last one, if there are several
}

// Headline is the error without its cause, for readers who have seen the cause already.
func (e *Ended) Headline() string {
	if e.What == "" {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.What
}

func (e *Ended) Error() string {
	if e.What == "" {
		return e.Headline() + ": " + e.Cause.Error()
	}
	return e.Headline() + ", last: " + e.Cause.Error()
}

// Unwrap returns the kind and the cause, for errors.Is and errors.As.
func (e *Ended) Unwrap() []error { return []error{e.Kind, e.Cause} }
