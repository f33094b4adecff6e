package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckRefusesWhatReadersDifferOn(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		`{}`, `[]`, `"a"`, `1`, `null`, ` {"a":{"a":1},"b":[{"a":1},{"a":2}]} `, `{"a":1,"A":2}`, nested(maxDepth),
	} {
		if err := Check([]byte(good)); err != nil {
			t.Errorf("%s: got %v, want it accepted", good, err)
		}
	}
	for bad, says := range map[string]string{
		`{"a":1,"a":2}`: "twice", `{"a":1,"\u0061":2}`: "twice", `[{"b":{"a":1,"a":1}}]`: "twice",
		`{} {}`: "data after", `{}x`: "data after", ``: "not JSON", `{"a":`: "not JSON", `{"a" 1}`: "not JSON", `[1,`: "not JSON",
		`{"a":1,}`: "not JSON", `[1,]`: "not JSON", `{]`: "not JSON", `[}`: "not JSON", `{1:2}`: "not JSON",
		"{\"a\":\"\xff\"}": "UTF-8", nested(maxDepth + 1): "nested deeper", strings.Repeat("[", 100_000): "nested deeper",
	} {
		if err := Check([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: got %v, want %q", bad, err, says)
		}
	}
}

// nested returns a value inside depth arrays and objects.
func nested(depth int) string {
	return strings.Repeat(`[{"a":`, depth/2) + strings.Repeat("[", depth%2) + "1" + strings.Repeat("]", depth%2) + strings.Repeat("}]", depth/2)
}

// trail is a rule that records where it was asked, and refuses one name and one value.
type trail struct {
	seen *[]string
	at   string
}

func (r trail) Member(name string) (Rule, error) {
	if name == "bad" {
		return nil, errors.New("a bad name")
	}
	return trail{r.seen, r.at + "." + name}, nil
}
func (r trail) Element() Rule { return trail{r.seen, r.at + "[]"} }
func (r trail) Scalar(v json.Token) error {
	if v == "bad" {
		return errors.New("a bad value")
	}
	*r.seen = append(*r.seen, fmt.Sprintf("%s=%T(%v)", r.at, v, v))
	return nil
}

func TestWalkAsksTheRuleOfEachValue(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":{"b":1},"c":["x",{"d":null}],"e":true}`: ".a.b=json.Number(1) .c[]=string(x) .c[].d=<nil>(<nil>) .e=bool(true)",
		`7`: "=json.Number(7)",
		" {\t\"a\"\r:\n[ -1.5e3 ,false , \"\" ] , \"b,]}\" : { } }\n": ".a[]=json.Number(-1.5e3) .a[]=bool(false) .a[]=string()",
		`{"\u0061\"":"\\","b":"\ud800}\ud83d\ude00"}`:                 `.a"=string(\) .b=string(` + "\ufffd}\U0001f600)",
		`[[],{}]`:               "",
		`{"a":[{"bad":1}]}`:     "a bad name",
		`{"a":1,"b":[2,"bad"]}`: "a bad value",
	} {
		var seen []string
		got := ""
		if err := Walk([]byte(in), trail{&seen, ""}); err != nil {
			got = err.Error()
		} else {
			got = strings.Join(seen, " ")
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct{ checked, known string }{ // what the errors say; empty for none
		`{"a":1}`:         {"", ""},
		`{"a":1,"b":2}`:   {"", "unknown field"},
		`{"a":2,"a":1}`:   {"twice", ""},
		`{"a":1} {"a":2}`: {"data after", "data after"},
		`{"a":1}x`:        {"data after", "data after"},
		`{"a":"1"}`:       {"cannot unmarshal", "cannot unmarshal"},
		`{"a":1`:          {"not JSON", "it ends too early"},
	} {
		for how, c := range map[string]struct {
			unmarshal func([]byte, any) error
			want      string
		}{"Unmarshal": {Unmarshal, want.checked}, "UnmarshalKnown": {UnmarshalKnown, want.known}} {
			var v struct {
				A int `json:"a"`
			}
			err := c.unmarshal([]byte(in), &v)
			switch {
			case c.want == "" && (err != nil || v.A != 1):
				t.Errorf("%s of %s: got %d, %v, want 1", how, in, v.A, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s of %s: got %v, want %q", how, in, err, c.want)
			}
		}
	}
}

// The rule is asked of exactly what encoding/json decodes. Besides what is not JSON, only repeated keys and deep nesting
// are refused.
func FuzzWalkSeesWhatIsDecoded(f *testing.F) {
	for _, in := range []string{
		`{"a":{"b":1},"c":["x",{"d":null}],"e":true}`, " {\t\"a\"\r:\n[ -1.5e3 ,false , \"\" ] , \"b,]}\" : { } }\n",
		`{"\u0061\"":"\\","b":"\ud800}\ud83d\ude00"}`, `{"a":1,"\u0061":2}`, `{"a":1,"A":2}`, `[[],{}]`, `7`, `{"a":1}x`, nested(maxDepth + 1),
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var seen, want []string
		err := Walk(raw, anyName{trail{&seen, ""}})
		if !json.Valid(raw) || !utf8.Valid(raw) {
			if err == nil {
				t.Fatalf("%q: got it accepted, want it refused as it is not JSON", raw)
			}
			return
		}
		if err != nil {
			if !errors.Is(err, errDeep) && !strings.Contains(err.Error(), "twice in one object") {
				t.Fatalf("%q: got %v, want it accepted", raw, err)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var decoded any
		if err := d.Decode(&decoded); err != nil {
			t.Fatalf("%q: got %v from encoding/json, want it decoded", raw, err)
		}
		descend(decoded, anyName{trail{&want, ""}})
		slices.Sort(seen) // a decoded object has no order
		slices.Sort(want)
		if !slices.Equal(seen, want) {
			t.Errorf("%q: got %q, want %q", raw, seen, want)
		}
	})
}

// anyName is trail without what it refuses.
type anyName struct{ trail }

func (r anyName) Member(name string) (Rule, error) {
	return anyName{trail{r.seen, r.at + "." + name}}, nil
}
func (r anyName) Element() Rule { return anyName{trail{r.seen, r.at + "[]"}} }
func (r anyName) Scalar(v json.Token) error {
	_ = r.trail.Scalar(v) // it refuses one value
	return nil
}

// descend asks the rule of each decoded value.
func descend(v any, r Rule) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			rule, _ := r.Member(name) // anyName returns no error
			descend(member, rule)
		}
	case []any:
		for _, element := range v {
			descend(element, r.Element())
		}
	default:
		_ = r.Scalar(v) // anyName returns no error
	}
}
