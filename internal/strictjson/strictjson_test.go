package strictjson

import (
	"strings"
	"testing"
)

func TestCheckRefusesWhatReadersDifferOn(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		`{}`, `[]`, `"a"`, `1`, `null`, ` {"a":{"a":1},"b":[{"a":1},{"a":2}]} `, `{"a":1,"A":2}`, strings.Repeat("[", maxDepth-1) + "1" + strings.Repeat("]", maxDepth-1),
	} {
		if err := Check([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		`{"a":1,"a":2}`: "twice", `{"a":1,"\u0061":2}`: "twice", `[{"b":{"a":1,"a":1}}]`: "twice",
		`{} {}`: "data after", `{}x`: "data after", ``: "not JSON", `{"a":`: "not JSON", `{"a" 1}`: "not JSON", `[1,`: "not JSON",
		"{\"a\":\"\xff\"}": "UTF-8", strings.Repeat("[", 100_000): "nested deeper",
	} {
		if err := Check([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", bad, err, says)
		}
	}
}
