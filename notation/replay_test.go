package notation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/notation"
)

// TestReplayRefusesAsNotationVerify checks that entries before a good signature count: one that
// cannot be fetched ends notation verify, and one that is not trusted does not.
func TestReplayRefusesAsNotationVerify(t *testing.T) {
	t.Parallel()
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	reference := "registry.example.com/app@" + image.Digest.String()
	n := 0
	entry := func(v notation.Verdict, err error) notation.Entry {
		n++
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(n)), Size: 9}
		return notation.Entry{Listed: d, MediaType: "application/jose+json", Blob: []byte{1}, Err: err, Verdict: v}
	}
	good := entry(notation.Verdict{Trusted: true}, nil)
	lenient := entry(notation.Verdict{Trusted: true, Doubt: notation.Dated}, nil)
	bad := entry(notation.Verdict{Doubt: notation.Unproven, Reason: "foreign"}, nil)
	gone := entry(notation.Verdict{}, errors.New("404 \x1b[2J"))
	many := func(n int) (list []notation.Entry) {
		for range n {
			list = append(list, bad)
		}
		return list
	}
	for name, c := range map[string]struct {
		entries []notation.Entry
		refused string // part of the reason; empty: accepted
	}{
		"a good one":                  {[]notation.Entry{good}, ""},
		"a lenient one":               {[]notation.Entry{lenient, gone}, ""},
		"behind a foreign one":        {[]notation.Entry{bad, good, gone}, ""},
		"behind one that is gone":     {[]notation.Entry{gone, good}, "entry 1 of the list, " + gone.Listed.Digest.String()},
		"behind a foreign and a gone": {[]notation.Entry{bad, gone, good}, "entry 2 of the list, "},
		"foreign ones alone":          {[]notation.Entry{bad, bad}, "foreign"},
		"nothing":                     {nil, "no signature is associated"},
		"the hundredth":               {append(many(notation.MaxSignatures-1), good), ""},
		"the one after":               {append(many(notation.MaxSignatures), good), "limit of 100"},
	} {
		err := notation.Replay(context.Background(), reference, image, c.entries)
		if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || strings.Contains(err.Error(), "\x1b")) {
			t.Errorf("%s: got %v, want %q", name, err, c.refused)
		}
	}
	other := strings.Replace(reference, image.Digest.String(), digest.FromString("other").String(), 1)
	if err := notation.Replay(context.Background(), other, image, []notation.Entry{good}); err == nil {
		t.Error("the reference of another image: got no error, want one")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := notation.Replay(ctx, reference, image, []notation.Entry{gone}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: got %v, want the context's error", err)
	}
}
