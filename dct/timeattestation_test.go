package dct

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// saw returns an attestation that saw everything at one time, and counts its calls.
func saw(at time.Time, asked *int) TimeAttestation {
	return func(context.Context, GUN) (ValidAt, error) {
		*asked++
		return ValidAt{At: at, By: "leaf"}, nil
	}
}

// An attestation counts for what was valid at its time. It is asked once, and only if something
// has expired. It applies to all roles together, never to one alone.
func TestWitnessIsAskedForWhatIsExpired(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	reader := pinned(s, r)
	asked := 0
	reader.TimeAttestation = saw(time.Now().AddDate(0, 0, -2), &asked)
	got, err := read(t, reader, app, Known{})
	must(t, err)
	if asked != 0 || !got.Judged().IsZero() {
		t.Errorf("fresh: got asked %d times, %s, want never", asked, got.Judged())
	}
	must(t, r.Expire("targets")) // yesterday
	must(t, r.Expire("snapshot"))
	got, err = read(t, reader, app, Known{})
	must(t, err)
	if asked != 1 || strings.Join(got.Judged().Roles, " ") != "snapshot targets" || len(got.Expired()) != 0 {
		t.Errorf("got asked %d times, %s, expired %v, want once, snapshot and targets, none expired", asked, got.Judged(), got.Expired())
	}
	reader.TimeAttestation = saw(time.Now(), &asked)
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "already expired when it was signed") {
		t.Errorf("seen when it was expired: got %v, want %v that says already expired when it was signed", err, ErrExpired)
	}
	reader.TimeAttestation = func(context.Context, GUN) (ValidAt, error) {
		return ValidAt{At: time.Now().AddDate(-1, 0, 0)}, errors.New("blind")
	}
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "blind") {
		t.Errorf("a witness that fails: got %v, want %v with its reason", err, ErrExpired)
	}
}

// The attestation applies to the root's certificate as to any role, and all other checks of the
// root hold.
func TestWitnessSawTheRootsCertificate(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	end := time.Now().Add(-24 * time.Hour)
	must(t, r.Recertify(app, end.AddDate(0, 0, -30), end))
	other := one(t, s, "registry.example.com/team/other")
	asked := 0
	for name, c := range map[string]struct {
		seen time.Time
		pins Pins
		kind error
	}{
		"seen before":              {end.Add(-time.Hour), Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}, nil},
		"seen after":               {end.Add(time.Hour), Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}, ErrExpired},
		"never seen":               {time.Time{}, Pins{Certs: map[string][]string{app: r.RootKeyIDs()}}, ErrExpired},
		"seen, and not the pinned": {end.Add(-time.Hour), Pins{Certs: map[string][]string{app: other.RootKeyIDs()}}, ErrRefused},
		"seen, and not pinned":     {end.Add(-time.Hour), Pins{}, ErrUnpinnedRoot},
	} {
		reader := &Reader{Source: server(s), Pins: c.pins, TimeAttestation: saw(c.seen, &asked)}
		got, err := read(t, reader, app, Known{})
		if c.kind == nil && err != nil || !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %v", name, err, c.kind)
		}
		if err == nil && strings.Join(got.Judged().Roles, " ") != RootCert {
			t.Errorf("%s: got %s, want %s", name, got.Judged(), RootCert)
		}
	}
}

// A certificate that is not valid yet has not expired: nobody can have seen it valid.
func TestWitnessCannotSeeTheFuture(t *testing.T) {
	t.Parallel()
	s := notary(t)
	r := one(t, s, app)
	must(t, r.Recertify(app, time.Now().AddDate(0, 0, 10), time.Now().AddDate(0, 0, 20)))
	reader, asked := pinned(s, r), 0
	reader.TimeAttestation = saw(time.Now().AddDate(0, 0, -1), &asked)
	if _, err := read(t, reader, app, Known{}); !errors.Is(err, ErrRefused) || asked != 0 {
		t.Errorf("got %v, asked %d times, want %v, asked never", err, asked, ErrRefused)
	}
}
