package dct

import (
	"testing"
)

// A rotation is one version of a role: which of ten keys may sign it, how many must, and
// which do.
type rotation struct {
	keys      []int
	threshold int
	sigs      []int
}

type rotationCase struct {
	versions []rotation
	refused  bool // the last of them
}

var (
	zeroToFour  = []int{0, 1, 2, 3, 4}
	fiveToNine  = []int{5, 6, 7, 8, 9}
	oneReplaced = []int{0, 1, 3, 4, 5}
	oneToThree  = []int{1, 2, 3}
)

var rootRotations = map[string]rotationCase{
	"1-of-1-key-rotation":                                             {versions: []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}},
	"1-of-1-key-rotation-unused-signatures":                           {versions: []rotation{{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}, {[]int{2}, 1, []int{3, 2, 4}}}},
	"3-of-5-sign-with-different-keycombos":                            {versions: []rotation{{zeroToFour, 3, []int{0, 2, 4}}, {zeroToFour, 3, []int{0, 4, 1}}, {zeroToFour, 3, []int{0, 1, 3}}}},
	"3-of-5-one-key-rotated":                                          {versions: []rotation{{zeroToFour, 3, []int{0, 2, 4}}, {oneReplaced, 3, []int{0, 4, 1}}}},
	"3-of-5-one-key-rotated-with-intermediate-step":                   {versions: []rotation{{zeroToFour, 3, []int{0, 2, 4}}, {oneReplaced, 3, []int{0, 2, 4, 5}}, {oneReplaced, 3, []int{0, 4, 5}}}},
	"3-of-5-all-keys-rotated-with-intermediate-step":                  {versions: []rotation{{zeroToFour, 3, []int{0, 2, 4}}, {fiveToNine, 3, []int{0, 2, 4, 5, 6, 7}}, {fiveToNine, 3, []int{5, 6, 7}}}},
	"1-of-3-threshold-increase-to-2-of-3":                             {versions: []rotation{{oneToThree, 1, []int{1}}, {oneToThree, 2, []int{1, 2}}}},
	"2-of-3-threshold-decrease-to-1-of-3":                             {versions: []rotation{{oneToThree, 2, []int{1, 2}}, {oneToThree, 1, []int{1, 2}}, {oneToThree, 1, []int{1}}}},
	"1-of-2-threshold-increase-to-2-of-2":                             {versions: []rotation{{[]int{1}, 1, []int{1}}, {[]int{1, 2}, 2, []int{1, 2}}}},
	"1-of-1-key-rotation-fail-not-signed-with-old-key":                {[]rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}, true},
	"1-of-1-key-rotation-fail-not-signed-with-new-key":                {[]rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}, true},
	"3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys":          {[]rotation{{zeroToFour, 3, []int{0, 2, 4}}, {oneReplaced, 3, []int{0, 2, 4}}}, true},
	"3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys":          {[]rotation{{zeroToFour, 3, []int{0, 2, 4}}, {oneReplaced, 3, []int{0, 4, 5}}}, true},
	"1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": {[]rotation{{oneToThree, 1, []int{1}}, {oneToThree, 2, []int{2}}}, true},
	"2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached": {[]rotation{{oneToThree, 2, []int{1, 2}}, {oneToThree, 1, []int{1}}}, true},
}

var otherRotations = map[string]rotationCase{
	"1-of-1-key-rotation":                                            {versions: []rotation{{[]int{2}, 1, []int{2}}}},
	"1-of-1-key-rotation-unused-signatures":                          {versions: []rotation{{[]int{1}, 1, []int{3, 1, 4}}}},
	"1-of-1-key-rotation-fail-not-signed-with-new-key":               {[]rotation{{[]int{2}, 1, []int{1, 3, 4}}}, true},
	"3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": {[]rotation{{oneReplaced, 3, []int{0, 2, 4}}}, true},
	"2-of-5-one-key-signature-missing-threshold-not-reached":         {[]rotation{{oneReplaced, 3, []int{0, 4}}}, true},
	"3-of-5-sign-first-combo":                                        {versions: []rotation{{zeroToFour, 3, []int{0, 2, 4}}}},
	"3-of-5-sign-second-combo":                                       {versions: []rotation{{zeroToFour, 3, []int{0, 4, 1}}}},
	"3-of-5-sign-third-combo":                                        {versions: []rotation{{zeroToFour, 3, []int{0, 1, 3}}}},
	"3-of-5-sign-fourth-combo":                                       {versions: []rotation{{zeroToFour, 3, []int{1, 2, 3}}}},
	"3-of-5-sign-fifth-combo":                                        {versions: []rotation{{zeroToFour, 3, []int{2, 3, 4}}}},
}

func TestConformanceRootRotation(t *testing.T) {
	t.Parallel()
	cases := map[string]conformanceCase{}
	for name, r := range rootRotations {
		cases["test_root_rotation["+name+"]"] = func(t *testing.T, c *tufClient) { r.run(t, c, "root") }
	}
	conform(t, cases)
}

func TestConformanceOtherRotations(t *testing.T) {
	t.Parallel()
	cases := map[string]conformanceCase{}
	for name, r := range otherRotations {
		for _, role := range []string{"timestamp", "snapshot", "targets", "targets/releases"} {
			cases["test_non_root_rotations["+name+"]["+role+"]"] = func(t *testing.T, c *tufClient) { r.run(t, c, role) }
		}
	}
	conform(t, cases, "targets/releases")
}

// run publishes the versions and lets a client that trusts the first root follow.
func (r rotationCase) run(t *testing.T, c *tufClient, role string) {
	var all []mintKey
	for range 10 {
		if role == "root" {
			all = append(all, c.m.cert())
		} else {
			all = append(all, c.m.key())
		}
	}
	for i, v := range r.versions {
		c.m.assign(role, v.threshold, pick10(all, v.keys)...)
		c.m.keys[role] = pick10(all, v.sigs)
		if role != "root" {
			c.m.publish(append([]string{parentRole(role)}, toPublish(role)...)...)
			continue
		}
		c.m.publish("root")
		if i == 0 {
			c.known.Root = c.m.files["root"]
		}
	}
	if r.refused {
		c.refuses(ErrRefused, role)
		return
	}
	wantVersions(t, c.accepts(), map[string]int{role: c.m.version(role)})
}

func pick10(all []mintKey, at []int) []mintKey {
	var keys []mintKey
	for _, i := range at {
		keys = append(keys, all[i])
	}
	return keys
}
