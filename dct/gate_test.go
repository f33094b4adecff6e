package dct

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	canonical "github.com/docker/go/canonical/json"
)

func TestGateRefusesAmbiguousJSON(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"duplicate":              `{"signed":{"a":1,"a":2}}`,
		"duplicate targets":      `{"signed":{"targets":{},"targets":{"v1":{}}}}`,
		"duplicate tag":          `{"signed":{"targets":{"v1":{"length":1},"v1":{"length":2}}}}`,
		"duplicate in an array":  `{"signatures":[{"keyid":"a","keyid":"b"}]}`,
		"duplicate hashes":       `{"signed":{"targets":{"v1":{"hashes":{"sha256":"a","sha256":"b"}}}}}`,
		"duplicate by escape":    `{"signed":{"a":1,"\u0061":2}}`,
		"case of a field":        `{"Signed":{}}`,
		"case of a nested field": `{"signed":{"targets":{"v1":{"LENGTH":5,"length":6}}}}`,
		"long s":                 `{"ſigned":{}}`,
		"kelvin sign":            `{"signed":{"\u212aeys":{}}}`,
		"case in a list":         `{"signed":{"delegations":{"roles":[{"Name":"x"}]}}}`,
		"2^53":                   `{"signed":{"version":9007199254740992}}`,
		"exponent":               `{"signed":{"version":1e1}}`,
		"fraction":               `{"signed":{"version":1.0}}`,
		"minus zero":             `{"signed":{"version":-0}}`,
		"bad UTF-8":              "{\"signed\":\"\xff\"}",
		"lone surrogate":         `{"signed":"\ud800"}`,
		"lone surrogate in key":  `{"\ud800":1}`,
		"two values":             `{} {}`,
		"trailing":               `{}x`,
		"array":                  `[]`,
		"null":                   `null`,
		"empty":                  ``,
		"truncated":              `{"signed":`,
		"depth":                  strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		"depth of arrays":        `{"a":` + strings.Repeat("[", 100_000),
	} {
		if err := gate([]byte(in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGatePassesWhatIsPlain(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"tags that differ in case": `{"signed":{"targets":{"V1":{"length":1},"v1":{"length":2}}}}`,
		"a tag named length":       `{"signed":{"targets":{"length":{"length":1},"LENGTH":{"length":1},"targets":{"length":3}}}}`,
		"custom data":              `{"signed":{"targets":{"v":{"custom":{"Length":1,"length":2,"x":[{"NAME":1}]}}}}}`,
		"largest number":           `{"signed":{"version":9007199254740991,"length":-5}}`,
		"nothing":                  `{}`,
	} {
		if err := gate([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the gate accepts, the two decoders in the notary library read alike.
func FuzzGate(f *testing.F) {
	f.Add([]byte(`{"signed":{"_type":"Targets","targets":{"v1":{"hashes":{"sha256":"AAAA"},"length":5}},"version":2},"signatures":[{"keyid":"k","method":"ecdsa","sig":"AA=="}]}`))
	f.Add([]byte(`{"signed":{"a":1,"A":2}}`))
	f.Add([]byte("{\"ſigned\":{}}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if gate(in) != nil {
			return
		}
		var byMap map[string]any
		if err := canonical.Unmarshal(in, &byMap); err != nil {
			return // the library refuses it too
		}
		var byStruct struct {
			Signed struct {
				Version int `json:"version"`
				Targets map[string]struct {
					Length int64 `json:"length"`
				} `json:"targets"`
			} `json:"signed"`
		}
		if err := canonical.Unmarshal(in, &byStruct); err != nil {
			return
		}
		signed, _ := byMap["signed"].(map[string]any)
		targets, _ := signed["targets"].(map[string]any)
		if len(targets) != len(byStruct.Signed.Targets) {
			t.Fatalf("%d targets by the map, %d by the struct", len(targets), len(byStruct.Signed.Targets))
		}
		for name, v := range targets {
			meta, _ := v.(map[string]any)
			length, _ := json.Marshal(meta["length"])
			want, _ := json.Marshal(byStruct.Signed.Targets[name].Length)
			if meta["length"] != nil && !bytes.Equal(length, want) {
				t.Fatalf("%q has length %s by the map and %s by the struct", name, length, want)
			}
		}
	})
}
