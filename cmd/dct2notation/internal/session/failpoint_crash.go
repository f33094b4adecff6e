//go:build failpoint

package session

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/state"
)

// crashVar names a crash point and how often it must be reached: before-commit:2 kills the process when it is about
// to commit the second envelope.
const crashVar = "DCT2NOTATION_TEST_CRASH"

// The effects with a crash point before and one after them, in the order of an item.
const (
	effectKey      = "key"      // an operation of the key
	effectCommit   = "commit"   // the envelope in the ledger
	effectBlob     = "blob"     // the envelope in the registry
	effectConfig   = "config"   // the empty config, once in a repository
	effectManifest = "manifest" // the signature
	effectIndex    = "index"    // the list of signatures, where it is a tag
	effectPushed   = "pushed"   // recorded in the ledger as pushed
	effectConfirm  = "confirm"  // recorded in the ledger as confirmed
)

var effects = []string{effectKey, effectCommit, effectBlob, effectConfig, effectManifest, effectIndex, effectPushed, effectConfirm}

// A crash is what crashVar requests; the zero value never happens.
type crash struct {
	point  string
	nth    int64
	passed atomic.Int64
}

var planned = parseCrash(os.Getenv(crashVar))

// parseCrash ends the process if the requested crash cannot happen: a test with a typing error must not pass.
func parseCrash(s string) *crash {
	if s == "" {
		return &crash{}
	}
	point, times, _ := strings.Cut(s, ":")
	side, effect, _ := strings.Cut(point, "-")
	nth, err := strconv.ParseInt(times, 10, 64)
	if err != nil || nth < 1 || side != "before" && side != "after" || !slices.Contains(effects, effect) {
		fmt.Fprintf(os.Stderr, "%s: %q is not like before-commit:2, with one of %s\n", crashVar, s, strings.Join(effects, ", "))
		os.Exit(1)
	}
	return &crash{point: point, nth: nth}
}

// passing kills the process if this is the requested point and occurrence.
func passing(point string) {
	if point != planned.point || planned.passed.Add(1) != planned.nth {
		return
	}
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // until the kill takes effect
}

// around runs the effect between its two points.
func around(effect string, do func() error) error {
	passing("before-" + effect)
	err := do()
	if err == nil {
		passing("after-" + effect)
	}
	return err
}

type crashingLedger struct{ migrate.Ledger }

func (l crashingLedger) Sign(k state.Key, e state.Envelope) error {
	return around(effectCommit, func() error { return l.Ledger.Sign(k, e) })
}

func (l crashingLedger) Push(k state.Key, signature string) error {
	return around(effectPushed, func() error { return l.Ledger.Push(k, signature) })
}

func (l crashingLedger) Confirm(k state.Key, signature, by string) error {
	return around(effectConfirm, func() error { return l.Ledger.Confirm(k, signature, by) })
}

type crashingSigner struct{ migrate.Signer }

func (s crashingSigner) Sign(ctx context.Context, subject ocispec.Descriptor, metadata map[string]string) (e state.Envelope, err error) {
	err = around(effectKey, func() error {
		e, err = s.Signer.Sign(ctx, subject, metadata)
		return err
	})
	return e, err
}

type crashingPushes struct{ http.RoundTripper }

// RoundTrip passes the points of what the request pushes; the one after it once the push is complete: 202 is the
// answer to a blob that has to be sent a second time.
func (p crashingPushes) RoundTrip(r *http.Request) (*http.Response, error) {
	effect := pushed(r)
	if effect == "" {
		return p.RoundTripper.RoundTrip(r)
	}
	passing("before-" + effect)
	resp, err := p.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusCreated {
		passing("after-" + effect)
	}
	return resp, err
}

// pushed returns what a request pushes; empty: nothing. A blob can come with the POST that starts its upload.
func pushed(r *http.Request) string {
	_, manifest, isManifest := strings.Cut(r.URL.Path, "/manifests/")
	switch {
	case r.Method != http.MethodPut && (r.Method != http.MethodPost || r.URL.Query().Get("digest") == ""):
		return ""
	case isManifest && strings.Contains(manifest, ":"):
		return effectManifest
	case isManifest:
		return effectIndex
	case r.URL.Query().Get("digest") == digest.FromBytes([]byte("{}")).String():
		return effectConfig
	}
	return effectBlob
}
