package notation

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// TestTwoDates keeps two dates apart: when a key must stop signing, and until when its signatures
// verify.
func TestTwoDates(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2027, 1, n, 0, 0, 0, 0, time.UTC) }
	chain := func(ends ...int) (list []*x509.Certificate) {
		for _, n := range ends {
			list = append(list, &x509.Certificate{NotAfter: day(n)})
		}
		return list
	}
	for name, c := range map[string]struct {
		chain         []*x509.Certificate
		expiry        time.Time
		signs         time.Time
		alone, stamps time.Time // until when a signature verifies, without and with a timestamp
	}{
		"the leaf ends first":        {chain(5, 9, 20), time.Time{}, day(5), day(5), time.Time{}},
		"an authority ends first":    {chain(9, 5, 20), time.Time{}, day(5), day(5), time.Time{}},
		"the root ends first":        {chain(9, 20, 5), time.Time{}, day(5), day(5), time.Time{}},
		"an expiry before":           {chain(9, 20), day(3), day(9), day(3), day(3)},
		"an expiry behind":           {chain(9, 20), day(12), day(9), day(9), day(12)},
		"an expiry at the same time": {chain(9, 20), day(9), day(9), day(9), day(9)},
	} {
		if got := SigningEnds(c.chain); !got.Equal(c.signs) {
			t.Errorf("%s: signing ends at %s, want %s", name, got, c.signs)
		}
		if got := VerifiesUntil(c.expiry, c.chain, false); !got.Equal(c.alone) {
			t.Errorf("%s: verifies until %s, want %s", name, got, c.alone)
		}
		if got := VerifiesUntil(c.expiry, c.chain, true); !got.Equal(c.stamps) {
			t.Errorf("%s, with a timestamp: verifies until %s, want %s", name, got, c.stamps)
		}
	}
}

// TestTimestampCountsByThePolicy checks that a timestamp extends the life of a signature only if
// the policy trusts its authority, and it was made while the certificate was valid.
func TestTimestampCountsByThePolicy(t *testing.T) {
	t.Parallel()
	server, options := authority(t)
	other, _ := authority(t)
	ca, err := pki.NewAuthority("dates")
	must(t, err)
	end := time.Now().Add(24 * time.Hour).Truncate(time.Second).UTC()
	id, err := ca.Issue("release", nil, pki.Valid(time.Now().Add(-time.Hour), end))
	must(t, err)
	expiry := end.Add(48 * time.Hour)
	sign := func(stamp bool, expires time.Time) []byte {
		return signedBy(t, id, "a", func(r *signature.SignRequest) {
			r.Expiry = expires
			if stamp {
				r.Timestamper, r.TSARootCAs = &stamping{tsa: openTSA(t, options)}, openTSA(t, options).roots
			}
		})
	}
	for name, c := range map[string]struct {
		got  Verdict
		want time.Time
	}{
		"without a timestamp":                   {stamped(t, ca, server, false, jws.MediaTypeEnvelope, sign(false, time.Time{})), end},
		"by a policy that trusts no authority":  {stamped(t, ca, server, false, jws.MediaTypeEnvelope, sign(true, time.Time{})), end},
		"by one that trusts another":            {stamped(t, ca, other, true, jws.MediaTypeEnvelope, sign(true, time.Time{})), end},
		"by one that trusts it":                 {stamped(t, ca, server, true, jws.MediaTypeEnvelope, sign(true, time.Time{})), time.Time{}},
		"by one that trusts it, with an expiry": {stamped(t, ca, server, true, jws.MediaTypeEnvelope, sign(true, expiry)), expiry},
		"without a timestamp, with an expiry":   {stamped(t, ca, server, false, jws.MediaTypeEnvelope, sign(false, expiry)), end},
	} {
		if !c.got.NotAfter.Equal(c.want) {
			t.Errorf("%s: verifies until %s, want %s", name, c.got.NotAfter, c.want)
		}
	}
}
