package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/strictjson"
	"github.com/dct2notation/dct2notation/migrate"
)

// Failures are the things that a result could not do or that had problems, to be tried again.
type Failures struct {
	Named []Named
	// Whole reports whether the list covers everything requested; a result that ended early did not get to some of
	// it.
	Whole bool
}

// maxFailures limits the size of a list of failures, and maxFailure of a line of it, in bytes.
const (
	maxFailures = 256 << 20
	maxFailure  = 64 << 10
)

// ReadFailures reads a list of failures from what was saved of a run or verification: lines of JSON, -o json, or
// plain lines (see savedFailures). For anything else, the error names the line.
func ReadFailures(open func() (io.ReadCloser, error)) (*Failures, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	in := bufio.NewReaderSize(io.LimitReader(f, maxFailures+1), maxFailure)
	begin, err := in.Peek(maxFailure)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	begin = bytes.TrimLeft(begin, " \t\r\n")
	switch {
	case bytes.HasPrefix(begin, []byte(`{"head":`)):
		return failuresOfSaved(open)
	case bytes.HasPrefix(begin, []byte("{")):
		return failuresOfJSON(in)
	}
	return failuresOfLines(in)
}

func failuresOfSaved(open func() (io.ReadCloser, error)) (*Failures, error) {
	s, err := Load(open)
	if err != nil {
		return nil, err
	}
	all := &Failures{Whole: s.asked()}
	err = s.Each(func(one Section) error {
		if one.Class != "" {
			all.Named = append(all.Named, Named{Repository: one.Repository})
		}
		return nil
	}, func(r Row) error {
		if r.Standing == Problem || r.Standing == Unclear {
			all.Named = append(all.Named, named(r.Repository, r.GUN, r.Digest, r.Tags))
		}
		return nil
	})
	if err == nil {
		err = all.check()
	}
	return all, err
}

// check refuses names that no registry could have: they would match nothing.
func (f *Failures) check() error {
	kept := f.Named[:0]
	for _, n := range f.Named {
		back, err := parseNamed(n.String())
		switch {
		case err == nil && back == n:
			kept = append(kept, n)
		case n.Tag == "":
			return fmt.Errorf("%s is no name of an image", safetext.Safe(n.String(), 256))
		}
		// A tag that no registry could have is in no signature either: nothing can be done.
	}
	f.Named = kept
	return nil
}

func failuresOfJSON(r io.Reader) (*Failures, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFailures {
		return nil, fmt.Errorf("larger than %d bytes", maxFailures)
	}
	if err := strictjson.Check(raw); err != nil {
		return nil, err
	}
	var head struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, err
	}
	var all *Failures
	switch {
	case head.Version == 1 && head.Kind == RunKind:
		all, err = failuresOfRun(raw)
	case head.Version == 1 && head.Kind == VerifyKind:
		all, err = failuresOfVerification(raw)
	default:
		return nil, fmt.Errorf("kind %.40q, version %d: it takes a result of run or verify", head.Kind, head.Version)
	}
	if err == nil {
		err = all.check()
	}
	return all, err
}

func failuresOfRun(raw []byte) (*Failures, error) {
	var r Run
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	if r.Results[migrate.ResultFailed]+r.Results[migrate.ResultSkipped]-r.NotAsked != len(r.NotSigned) || r.NotRead != len(r.Unread) {
		return nil, errors.New("it does not list all that it counts\nhint: -o json lists no more than 10,000; take --report failures=FILE or jsonl=FILE")
	}
	all := &Failures{Whole: r.Complete || r.Error == "" && r.unfinished() == 0}
	for _, u := range r.Unread {
		all.Named = append(all.Named, Named{Repository: u.GUN})
	}
	for _, it := range r.NotSigned {
		if s := standing(OfRun, string(it.Result), string(it.Class)); s == Problem || s == Unclear {
			all.Named = append(all.Named, named(it.Repository, it.GUN, it.Digest, it.Tags))
		}
	}
	return all, nil
}

// unfinished returns how many items the run did not get to.
func (r *Run) unfinished() int {
	n := r.Items
	for _, settled := range r.Results {
		n -= settled
	}
	return n
}

func failuresOfVerification(raw []byte) (*Failures, error) {
	var v Verification
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	totals := Totals{}
	all := &Failures{Whole: v.Complete}
	for _, r := range v.Repositories {
		totals.Add(r)
		if r.Class != "" {
			all.Named = append(all.Named, Named{Repository: r.GUN})
		}
		for _, t := range r.Tags {
			if !t.Class.Agrees() {
				all.Named = append(all.Named, named(r.GUN, "", t.DCT.String(), []string{t.Tag}))
			}
		}
	}
	for class, n := range v.Totals {
		if totals[class] != n {
			return nil, errors.New("its totals are not those of its repositories")
		}
	}
	return all, nil
}

func failuresOfLines(r io.Reader) (*Failures, error) {
	all := &Failures{Whole: true}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxFailure)
	n := 0
	for in.Scan() {
		n++
		if strings.HasPrefix(in.Text(), cutList) {
			all.Whole = false
		}
		text, _, _ := strings.Cut(in.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		one, err := parseNamed(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w\nhint: a line is a repository, repository@digest or repository:tag; # begins a comment", n, err)
		}
		all.Named = append(all.Named, one)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return all, nil
}
