//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// What a signature may cost the registry once a repository is warm; without the referrers API, apart from
// confirming that it is listed.
const (
	aimReferrers = 4 // requests, with the referrers API: the answer to the push confirms
	aimTags      = 6 // requests, without
	aimTwoSteps  = 1 // request more, where a blob cannot be uploaded in one
)

// Two runs that differ in the number of images alone: what the larger costs more is what
// its further images cost, however dear the first of a repository are.
const (
	fewImages  = 200
	moreImages = 500
)

// warmRequests counts what one signature costs the registry, by purpose and kind, with the
// referrers API and without, and where an upload takes one request and where two.
func warmRequests(ctx context.Context, bin, dir string, out io.Writer) error {
	fmt.Fprintf(out, "\nRequests to the registry for each signature once a repository is warm, counted there\n")
	for i, r := range []struct {
		name  string
		flags []string
		aim   float64
	}{
		{"referrers API", nil, aimReferrers},
		{"tag schema", []string{"-" + tagsFlag}, aimTags},
		{"referrers API, uploads in two requests", []string{"-" + twoStepsFlag}, aimReferrers + aimTwoSteps},
		{"tag schema, uploads in two requests", []string{"-" + tagsFlag, "-" + twoStepsFlag}, aimTags + aimTwoSteps},
	} {
		each, err := countWarm(ctx, bin, filepath.Join(dir, fmt.Sprintf("requests-%d", i)), r.flags)
		if err != nil {
			return err
		}
		printRequestsEach(out, r.name, each, r.aim)
	}
	return nil
}

// countWarm signs few and then more images, each in a repository of its own.
func countWarm(ctx context.Context, bin, dir string, flags []string) (each map[string]float64, err error) {
	servers, err := startRemote(0, flags...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, servers.close()) }()
	h, err := newHome(dir, bin, servers.address, nil)
	if err != nil {
		return nil, err
	}
	var counted []map[string]int64
	for _, images := range []int{fewImages, moreImages} {
		n, err := countRun(ctx, servers, h, images)
		if err != nil {
			return nil, err
		}
		counted = append(counted, n)
	}
	return perImage(counted[0], counted[1], moreImages-fewImages), nil
}

func countRun(ctx context.Context, servers *remote, h *home, images int) (map[string]int64, error) {
	name := fmt.Sprintf("warm-%d", images)
	p, err := servers.publish(name, 1, images)
	if err != nil {
		return nil, err
	}
	before, err := servers.requests()
	if err != nil {
		return nil, err
	}
	m := migration{name: name, workers: aimWorkers, key: fileKey, published: p, notary: servers.address.Notary}
	r, _, err := h.migrate(ctx, m)
	if err != nil {
		return nil, err
	}
	after, err := servers.requests()
	if err != nil {
		return nil, err
	}
	return difference(before, after), complete(servers, name, r, "signed", images)
}

func difference(before, after map[string]int64) map[string]int64 {
	d := maps.Clone(after)
	for k, n := range before {
		d[k] -= n
	}
	return d
}

// perImage is what each further image costs.
func perImage(few, more map[string]int64, images int) map[string]float64 {
	each := map[string]float64{}
	for k, n := range difference(few, more) {
		if n != 0 {
			each[k] = float64(n) / float64(images)
		}
	}
	return each
}

// ofPurpose is how many requests are for that, and which.
func ofPurpose(each map[string]float64, purpose string) (total float64, which string) {
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(each)) {
		if kind, found := strings.CutPrefix(k, purpose+" "); found {
			total += each[k]
			kinds = append(kinds, fmt.Sprintf("%s %.2f", kind, each[k]))
		}
	}
	return total, strings.Join(kinds, ", ")
}

func printRequestsEach(out io.Writer, name string, each map[string]float64, aim float64) {
	fmt.Fprintf(out, "  %s\n", name)
	sum := 0.0
	for _, purpose := range []string{looking, pushing, confirming, other, refused} {
		n, which := ofPurpose(each, purpose)
		fmt.Fprintf(out, "    %-10s %5.2f  %s\n", purpose, n, which)
		if purpose != confirming && purpose != refused {
			sum += n
		}
	}
	fmt.Fprintf(out, "    aim: at most %.0f without those to confirm and those refused: %.2f, %s\n", aim, sum, verdict(sum <= aim))
}
