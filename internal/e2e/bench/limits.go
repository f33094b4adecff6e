//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
)

// aimLimited is the share of a limited key's rate.
const aimLimited = 0.95

// keyLimit is a key whose service allows so many operations per second.
type keyLimit struct {
	perSecond float64
	refusal   kmstest.Kind  // how it refuses more
	worth     time.Duration // how long it takes to sign the images at that rate
	loop      int           // images for the loop; 0: it is not run
}

// Azure allows 50 operations per second with an RSA key of 3072 bits in an HSM, and 25
// with one of 4096. Few plugins say THROTTLED: the last two say what Azure's and Vault's
// say.
var keyLimits = []keyLimit{
	{50, kmstest.Throttled, 30 * time.Second, 200},
	{25, kmstest.Throttled, 30 * time.Second, 200},
	{50, kmstest.ThrottledAzure, 15 * time.Second, 0},
	{50, kmstest.ThrottledText, 15 * time.Second, 0},
}

// limited is how both did with such a key.
type limited struct {
	keyLimit
	loop, ours contestant
	loopFailed int
	failed     int // of ours
}

// steady is our share of the limit between the first and the last signature.
func (l limited) steady() float64 { return steadyRate(l.ours.pushes) / l.perSecond }

// whole is that of the whole command.
func (l limited) whole() float64 { return l.ours.rate() / l.perSecond }

// throttled is how many of our calls were refused. One signature proves the key and is
// seen nowhere.
func (l limited) throttled() int { return max(0, l.ours.key.operations-l.ours.signatures-1) }

// others is what other programs used of the CPU meanwhile, at the worse of the two times.
func (l limited) others() float64 {
	if l.keyLimit.loop == 0 {
		return l.ours.others()
	}
	return max(l.loop.others(), l.ours.others())
}

// limits lets both sign with keys that are limited.
func limits(ctx context.Context, bin, dir string, out io.Writer) (err error) {
	servers, err := startRemote(requestLatency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	delay := map[string]int{describeKey: describeDelay, generateSignature: signDelay}
	h, err := newHome(filepath.Join(dir, "limits"), bin, servers.address, delay)
	if err != nil {
		return err
	}
	printLimitsHead(out)
	var all []limited
	for i, k := range keyLimits {
		b := h.behaviour(delay)
		b.MaxPerSecond, b.Refusal = k.perSecond, k.refusal
		l, err := stage{servers, h, pluginKey}.measureLimited(ctx, fmt.Sprint("limit-", i), k, b)
		if err != nil {
			return fmt.Errorf("with a key limited to %.0f/s: %w", k.perSecond, err)
		}
		printLimited(out, l)
		all = append(all, l)
	}
	printLimitAims(out, all)
	return nil
}

// measureLimited lets both sign at the limit, each from a full quota on.
func (s stage) measureLimited(ctx context.Context, name string, k keyLimit, b kmstest.Behaviour) (l limited, err error) {
	l.keyLimit = k
	if k.loop > 0 {
		if err := s.plugin.Set(b); err != nil {
			return l, err
		}
		l.loop, err = s.measure(name+"-loop", k.loop, func(p Published) (usage, error) {
			u, err := s.home.loop(ctx, aimWorkers, s.key, spread(p.References))
			return u, failedSome(err)
		})
		if err != nil {
			return l, err
		}
		l.loopFailed = k.loop - l.loop.signatures
	}
	if err := s.plugin.Set(b); err != nil {
		return l, err
	}
	var said result
	images := int(k.perSecond * k.worth.Seconds())
	l.ours, err = s.measure(name+"-ours", images, func(p Published) (u usage, err error) {
		said, u, err = s.migrate(ctx, migration{
			name: name, workers: aimWorkers, atMost: 3 * k.worth, key: s.key, mayFail: true, published: p, notary: s.address.Notary,
		})
		return u, err
	})
	l.failed = said.Results["failed"]
	return l, err
}
