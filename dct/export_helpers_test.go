package dct

import "testing"

// VectorCase is one vector as a source, for tests of what follows reading.
type VectorCase struct {
	Name   string
	Expect string // ok, timeout, or a kind of error and a role
	Reader *Reader
	Known  Known
	GUN    GUN
}

// EachVector calls each with the vectors, one after the other.
func EachVector(t *testing.T, each func(VectorCase)) {
	base := vectorBase(t)
	healthy, err := base.reader().Read(t.Context(), gun(t, base.gun), Known{})
	must(t, err)
	for _, v := range loadVectors(t) {
		m := base.clone(t)
		reader, known := v.apply(t, m, healthy, v.ways()[0])
		each(VectorCase{v.name, v.expect, reader, known, gun(t, m.gun)})
	}
}
