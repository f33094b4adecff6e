package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// The functions below compare what happened with what the shapes require, and return the differences.

// total returns how many digests are to be signed.
func (s *scene) total() (n int) {
	for _, r := range s.repositories {
		n += len(r.vouched)
	}
	return n
}

// signatures counts those that the registries list for the images of the scene.
func (s *scene) signatures() (n int, err error) {
	for _, r := range s.repositories {
		for _, d := range append(r.vouched[:len(r.vouched):len(r.vouched)], r.alien...) {
			list, err := r.registry.Signatures(r.name, d.String())
			if err != nil {
				return n, err
			}
			n += len(list)
		}
	}
	return n, nil
}

// eachOnce checks that each digest to be signed has one signature.
func (s *scene) eachOnce() (wrong []string, err error) {
	for _, r := range s.repositories {
		for _, d := range r.vouched {
			list, err := r.registry.Signatures(r.name, d.String())
			if err != nil {
				return nil, err
			}
			if len(list) != 1 {
				wrong = append(wrong, fmt.Sprintf("%s@%s has %d", r.gun, d, len(list)))
			}
		}
	}
	return wrong, nil
}

// nothingElse checks that no other digest has a signature.
func (s *scene) nothingElse() (wrong []string, err error) {
	for _, r := range s.repositories {
		for _, d := range r.alien {
			list, err := r.registry.Signatures(r.name, d.String())
			if err != nil {
				return nil, err
			}
			if len(list) != 0 {
				wrong = append(wrong, fmt.Sprintf("%s@%s has %d signatures", r.gun, d, len(list)))
			}
		}
	}
	return wrong, nil
}

// planned compares a plan with what is to be signed.
func (s *scene) planned(raw []byte) []string {
	plan, err := report.ReadPlan(bytes.NewReader(raw))
	if err != nil {
		return []string{err.Error()}
	}
	signs := map[string]bool{}
	for _, r := range plan.Repositories {
		for _, it := range r.Items {
			if it.Action == migrate.ActionSign {
				signs[r.GUN+"@"+it.Digest] = true
			}
		}
	}
	var wrong []string
	for _, r := range s.repositories {
		for _, d := range r.vouched {
			name := r.gun + "@" + d.String()
			if !signs[name] {
				wrong = append(wrong, name+" would not be signed")
			}
			delete(signs, name)
		}
	}
	for name := range signs {
		wrong = append(wrong, name+" would be signed")
	}
	return wrong
}

// classified compares verify's report with what each tag was made for.
func (s *scene) classified(raw []byte) (wrong []string) {
	var result struct {
		Repositories []verify.Repository `json:"repositories"`
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return []string{err.Error()}
	}
	got := map[string]verify.Repository{}
	for _, r := range result.Repositories {
		got[r.GUN] = r
	}
	for _, r := range s.repositories {
		wrong = append(wrong, r.differs(got[r.gun])...)
	}
	return wrong
}

func (r *repository) differs(got verify.Repository) (wrong []string) {
	if got.Class != r.class {
		wrong = append(wrong, fmt.Sprintf("%s is %q, not %q: %s", r.gun, got.Class, r.class, got.Reason))
	}
	tags := map[string]verify.Row{}
	for _, t := range got.Tags {
		tags[t.Tag] = t
		if _, known := r.tags[t.Tag]; !known {
			wrong = append(wrong, fmt.Sprintf("%s:%s is reported, and nobody made it", r.gun, t.Tag))
		}
	}
	for tag, class := range r.tags {
		switch t := tags[tag]; {
		case t.Class != class:
			wrong = append(wrong, fmt.Sprintf("%s:%s is %q, not %q: %s", r.gun, tag, t.Class, class, t.Reason))
		case class == verify.Agree && !t.Bound:
			wrong = append(wrong, fmt.Sprintf("%s:%s is not bound by its signature", r.gun, tag))
		}
	}
	return wrong
}

// counts are the numbers in a run's last line.
type counts struct{ signed, replayed, already, skipped, failed int }

var countsLine = regexp.MustCompile(`(?m)^signed (\d+), replayed (\d+), already signed (\d+), skipped (\d+), failed (\d+)$`)

func readCounts(out string) (counts, error) {
	m := countsLine.FindStringSubmatch(out)
	if m == nil {
		return counts{}, errors.New("reading what the run signed: it does not say")
	}
	var n [5]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(m[i+1]); err != nil {
			return counts{}, fmt.Errorf("reading what the run signed: %w", err)
		}
	}
	return counts{n[0], n[1], n[2], n[3], n[4]}, nil
}

// resumed checks that a run completed what a killed one had begun.
func (s *scene) resumed(n counts) (wrong []string) {
	if all := n.signed + n.replayed + n.already; all != s.total() || n.failed != 0 {
		wrong = append(wrong, fmt.Sprintf("%d of %d digests are done, %d failed", all, s.total(), n.failed))
	}
	if n.signed == 0 || n.replayed+n.already == 0 {
		wrong = append(wrong, fmt.Sprintf("it signed %d, and %d were done before", n.signed, n.replayed+n.already))
	}
	gone := 0
	for _, r := range s.repositories {
		gone += r.gone
	}
	if n.skipped != gone {
		wrong = append(wrong, fmt.Sprintf("%d were skipped, and %d are deleted", n.skipped, gone))
	}
	return wrong
}

func atMost(what string, got, limit int) []string {
	if got <= limit {
		return nil
	}
	return []string{fmt.Sprintf("%d %s, and %d are allowed", got, what, limit)}
}
