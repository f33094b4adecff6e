package dct

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type dumpBytes struct{ *bytes.Reader }

func (dumpBytes) Close() error { return nil }

// FuzzDump reads any bytes as a dump. Whatever comes out was in a row of that repository, role and
// version, as found by a second reader that knows nothing of offsets.
func FuzzDump(f *testing.F) {
	m := vectorBase(f)
	var tabbed, objects, binary []string
	for _, role := range fuzzRoles {
		raw := m.files[role]
		text := base64.StdEncoding.EncodeToString(raw)
		tabbed = append(tabbed, fmt.Sprintf("%s\t%s\t1\t%s\t%s", app, role, sumOf(raw), text))
		objects = append(objects, fmt.Sprintf(`{"gun":%q,"role":%q,"version":1,"sha256":%q,"data":%q}`, app, role, sumOf(raw), text))
		binary = append(binary, fmt.Sprintf(`{"data":{"$reql_type$":"BINARY","data":%q},"gun":%q,"role":%q,"sha256":%q,"version":1}`, text, app, role, sumOf(raw)))
	}
	for _, lines := range [][]string{tabbed, objects, binary} {
		f.Add([]byte(strings.Join(lines, "\n") + "\n"))
	}
	short := sumOf([]byte("x"))
	for _, line := range []string{
		"gun\trole\tversion\tsha256\tdata\n" + app + "\troot\t1\t" + short + "\teA==\n",
		app + "\troot\t1\t" + short + `\te\nA==` + "\r\n" + app + "\troot\t2\t" + short + "\teA==",
		app + "\t1.root\t3\t" + short + "\teA==\n" + app + "\troot\t1\t" + short + "\teA==\n",
		`{"data":"eA==","gun":"` + app + `","note":"eA==","role":"root","sha256":"` + short + `","version":-1}`,
		`{"data":"e\u0041==","gun":"` + app + `","role":"root","sha256":"` + short + `","version":1}`,
		app + "\troot\t1\t" + short + "\t" + `\x78`, "\ufeff" + app + "\troot\t1\t" + short + "\t" + `\\x78` + "\n",
		`{"data":{"data":"eA=="},"data":"eA=="}`, "../x\troot\t1\t" + short + "\teA==", "\t\t\t\t", "{}", "<html>", "",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := readDump(dumpBytes{bytes.NewReader(text)})
		if err != nil {
			return
		}
		have := rowsByHand(text)
		guns, _ := d.GUNs()
		for _, gun := range guns {
			for name, at := range d.rows[gun.String()] {
				raw, err := d.File(context.Background(), gun, name, maxTargets)
				var e *Error
				if err != nil && !errors.As(err, &e) {
					t.Fatalf("%s of %s: %v", name, gun, err)
				}
				if err == nil && !have[gun.String()+" "+sumOf(raw)] {
					t.Fatalf("%s of %s: got %q, want what a row has", name, gun, raw)
				}
				if err == nil && at.sum != sumOf(raw) {
					t.Fatalf("%s of %s: got %q, want the sum %s", name, gun, raw, at.sum)
				}
			}
		}
	})
}

// rowsByHand returns each row's GUN with the hash of its data.
func rowsByHand(text []byte) map[string]bool {
	have := map[string]bool{}
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		line = strings.TrimRight(line, "\r\n")
		var o map[string]any
		gun, data := "", ""
		if parts := strings.Split(line, "\t"); len(parts) == 5 && !strings.HasPrefix(strings.TrimSpace(line), "{") {
			gun, data = parts[0], strings.ReplaceAll(parts[4], `\n`, "")
		} else if json.Unmarshal([]byte(line), &o) == nil {
			gun, _ = o["gun"].(string)
			if binary, ok := o["data"].(map[string]any); ok {
				o = binary
			}
			data, _ = o["data"].(string)
			data = strings.ReplaceAll(data, "\n", "")
		}
		if digits, ok := strings.CutPrefix(strings.Replace(data, `\\x`, `\x`, 1), `\x`); ok {
			if raw, err := hex.DecodeString(digits); err == nil {
				have[gun+" "+sumOf(raw)] = true
			}
		}
		if raw, err := base64.StdEncoding.DecodeString(data); err == nil {
			have[gun+" "+sumOf(raw)] = true
		}
	}
	return have
}
