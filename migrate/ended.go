package migrate

// Ended is why a run or plan ended before its time. Its cause is also that of an item or a
// repository, which Engine.Observe was told of.
type Ended struct {
	Kind  error  // ErrStopped, ErrKeyAstray, ErrNotVouched or ErrNothingRead
	What  string // in a few words; may be empty
	Cause error  // the last one, where there are several
}

// Headline is the error without its cause, for whoever was told that.
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

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Ended) Unwrap() []error { return []error{e.Kind, e.Cause} }
