package report

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// The kinds of results.
const (
	OfRun    = "run"
	OfVerify = "verify"
)

// Head begins a result.
type Head struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"` // ResultKind
	Of      string    `json:"of"`   // OfRun or OfVerify
	Tool    string    `json:"tool"` // name and version
	Started time.Time `json:"started"`
	// Scope says what was selected, as a person would say it. Only results of the same scope are comparable.
	Scope string `json:"scope,omitempty"`
	// Shard is the part I/N of the repositories that the result covers. Campaign is the SHA-256 of what all shards
	// are parts of: their number, the selection, the options that they share, and the repositories found. Both are empty if
	// it covers everything; Campaign also if the result cannot be joined with others.
	Shard    string       `json:"shard,omitempty"`
	Campaign string       `json:"campaign,omitempty"`
	Keys     []SigningKey `json:"keys,omitempty"` // for a run
}

// SigningKey is a key that a run signed with.
type SigningKey struct {
	Name        string    `json:"name"`
	Certificate string    `json:"certificate"`        // SHA-256 of the certificate that it signs with
	Identity    string    `json:"identity,omitempty"` // whose signatures count as the key's, if a renewed certificate is still the same key
	Begins      time.Time `json:"begins"`             // when the last certificate of its chain became valid
	Ends        time.Time `json:"ends"`               // the earliest end in its chain: afterwards it must not sign, and signatures without a timestamp do not verify
}

// ResultKind distinguishes the lines from our other JSON.
const ResultKind = "dct2notation.result"

// NewHead begins a result of this version.
func NewHead(of, tool, scope string, started time.Time) Head {
	return Head{Version: 1, Kind: ResultKind, Of: of, Tool: tool, Scope: scope, Started: started.UTC()}
}

// Section is one repository. The rows of a verification follow its section; those of a run come as they end, so that
// rows of several repositories are mixed.
type Section struct {
	Repository string `json:"repository"`      // its GUN
	Place      string `json:"place,omitempty"` // the repository that the images are in, if it is another
	// Class is set if the trust data could not be read: then there are no rows. Reason may be set without it, if
	// something else was not looked at.
	Class    string         `json:"class,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	LeftOut  int            `json:"left_out,omitempty"` // tags that were not compared or signed, because of a sample or a selection of tags
	Unknown  bool           `json:"unknown,omitempty"`  // something could not be found out, besides the rows
	Deleted  bool           `json:"deleted,omitempty"`  // from the Notary server, by its changefeed and its own answer: everything in it was compared as withdrawn
	PinnedBy string         `json:"pinned_by,omitempty"`
	Expiries []dct.Expiry   `json:"expiries,omitempty"` // of the trust data
	Expired  []string       `json:"expired,omitempty"`  // expired roles that were allowed by --allow-expired
	Judged   dct.Judged     `json:"judged,omitzero"`    // expired, and signed in a snapshot before
	Findings map[string]int `json:"findings,omitempty"` // for a run: tags that are not signed, by class
}

// Row is a tag of a verification, or a digest of a run with all its tags.
type Row struct {
	Repository string   `json:"repository"`
	GUN        string   `json:"gun,omitempty"` // for a run, if the images are in another repository than the GUN
	Tags       []string `json:"tags"`
	Digest     string   `json:"digest,omitempty"`   // the digest that DCT vouches for
	Registry   string   `json:"registry,omitempty"` // the digest that the tag has now
	// Class is a verification's class or a run's result; Cause is why a run did not sign.
	Class string `json:"class"`
	// Classes are all classes of a tag, worst first, if there are several.
	Classes  []string  `json:"classes,omitempty"`
	Cause    string    `json:"cause,omitempty"`
	Standing Standing  `json:"standing"`
	Reason   string    `json:"reason,omitempty"`
	Role     string    `json:"role,omitempty"`
	Key      string    `json:"key,omitempty"`
	Index    []string  `json:"index,omitempty"`
	Platform string    `json:"platform,omitempty"`
	Bound    *bool     `json:"bound,omitempty"`  // for a verification: a trusted signature binds the tag
	Expires  time.Time `json:"expires,omitzero"` // until when the signature verifies
	Notes    []string  `json:"notes,omitempty"`  // a verification's flags, or a run's notes

	Certificate string `json:"certificate,omitempty"` // for a run: SHA-256 of the certificate that it is signed with
	Wasted      bool   `json:"wasted,omitempty"`      // for a run: a signature was made for it and not pushed
}

// End closes a result. A result without it did not finish.
type End struct {
	Ended time.Time `json:"ended"`
	// Well says that nothing is left to do and nothing is unknown: the sides agree, or everything is signed that can
	// be.
	Well     bool           `json:"well"`
	Complete bool           `json:"complete"`          // everything was looked at
	Stopped  bool           `json:"stopped,omitempty"` // for a run: ended by a signal, --max-duration or --max-operations, before everything was tried
	Spent    bool           `json:"spent,omitempty"`   // for a run: it was ended by --max-operations
	Error    string         `json:"error,omitempty"`
	Totals   map[string]int `json:"totals"` // rows by class
	Items    int            `json:"items"`  // known items; more than there are rows if it ended early
	Unread   int            `json:"unread"` // repositories without rows, because their trust data could not be read
	Sum      string         `json:"sum"`    // SHA-256 of the lines before: it detects damage, and proves nothing
}

// Standing is what a class means, whatever the kind of result: what a person has to do about it.
type Standing string

// The standings.
const (
	Well    Standing = "ok"
	Problem Standing = "problem"
	Aside   Standing = "skipped" // cannot or need not be signed; a person should know
	Unclear Standing = "unknown" // it could not be found out
)

// standing returns the standing of a class. A class that this version does not know is a problem.
func standing(of, class, cause string) Standing {
	if of == OfVerify {
		switch c := verify.Class(class); {
		case c == verify.Unknown:
			return Unclear
		case c.Agrees():
			return Well
		}
		return Problem
	}
	switch migrate.Result(class) {
	case migrate.ResultSigned, migrate.ResultAlready, migrate.ResultReplayed:
		return Well
	case migrate.ResultSkipped:
		switch failure.Class(cause) {
		case failure.PlanUnknown:
			return Unclear
		case failure.Missing, failure.Unsignable, failure.NotPlanned, failure.NotAsked:
			return Aside
		}
	}
	return Problem
}

// classOf returns the class of a repository that is not well.
func classOf(s Section) string { return cmp.Or(s.Class, string(Unclear)) }

// Partial returns the error of a verification that was asked to compare only some of the tags, and says nothing about
// the rest: that is not a result to rely on, but not a failure either.
func Partial(leftOut int) string {
	return fmt.Sprintf("not all: %d tags were not compared", leftOut)
}

// ErrChosen ends a verification of selected tags: even if it has seen all tags that exist now, it says nothing about
// others.
var ErrChosen = errors.New("not all: only chosen tags were compared")

// ErrPart ends a run that did everything requested, which was less than DCT vouches for.
var ErrPart = errors.New("not all: --plan or chosen tags left something out")

// sampled returns what earlier releases wrote instead of Partial.
func sampled(leftOut int) string {
	return fmt.Sprintf("a sample: %d tags were not compared", leftOut)
}

// rest returns the standing of what was not compared.
func (s *Saved) rest() Standing {
	switch {
	case s.End.Complete:
		return Well
	case s.Head.Of == OfRun && s.End.Error == ErrPart.Error():
		return Aside
	case s.End.Error == ErrChosen.Error(), s.leftOut > 0 && (s.End.Error == Partial(s.leftOut) || s.End.Error == sampled(s.leftOut)):
		return Aside
	}
	return Unclear
}

// asked reports whether the result covers everything requested.
func (s *Saved) asked() bool { return s.End.Complete || s.Head.Of == OfRun && s.rest() == Aside }

// sectionStanding returns the standing of a repository by what it has besides its rows.
func sectionStanding(s Section) Standing {
	switch {
	case s.Class == string(verify.Unknown), s.Class == string(failure.Transient), s.Class == string(failure.Throttled):
		return Unclear
	case s.Class != "":
		return Problem
	case s.Unknown:
		return Unclear
	}
	return Well
}
