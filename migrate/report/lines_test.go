package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

// growing are the formats whose memory another test measures.
var growing = map[string]bool{"html": true}

// A result of a hundred thousand images needs no more memory than one of a few hundred.
func TestMemoryDoesNotGrowWithTheResult(t *testing.T) {
	// Not parallel: it measures the memory of the whole process. A run's lists have at most
	// maxListed items, which are in memory twice as JSON.
	limits := map[string]uint64{OfRun: 28 << 20, OfVerify: 10 << 20}
	for of := range limits {
		path := filepath.Join(t.TempDir(), "result.jsonl")
		f, err := os.Create(path)
		must(t, err)
		must(t, errors.Join(writeMany(f, of, rows), f.Close()))
		s, err := Load(func() (io.ReadCloser, error) { return os.Open(path) })
		must(t, err)
		for _, format := range Formats() {
			if growing[format] || of == OfRun && format != "text" && format != "json" {
				continue // the other formats do not depend on the kind of result
			}
			w := &peak{}
			w.look()
			if err := Render(w, format, s, shown); err != nil {
				t.Fatal(err)
			}
			// A row has about 600 bytes: all of them are 60 MB, or 12 MB under the race detector.
			if limit := limits[of]; w.most > limit {
				t.Errorf("%s as %s: got %d MB held, want at most %d", of, format, w.most>>20, limit>>20)
			}
		}
	}
}

// peak measures now and then how much more memory is held than before.
type peak struct {
	written, looked int
	first, most     uint64
}

func (p *peak) Write(b []byte) (int, error) {
	if p.written += len(b); p.looked == 0 || p.written-p.looked > 8<<20 {
		p.looked = p.written
		p.look()
	}
	return len(b), nil
}

func (p *peak) look() {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if p.first == 0 {
		p.first = m.HeapAlloc
	}
	p.most = max(p.most, m.HeapAlloc-min(m.HeapAlloc, p.first))
}

// writeMany writes a result with that many rows.
func writeMany(w io.Writer, of string, rows int) error {
	l, err := NewLines(w, NewHead(of, "test", "", began))
	if err != nil {
		return err
	}
	const each = 100 // tags per repository
	for i := 0; i < rows && err == nil; i += each {
		gun := fmt.Sprintf("registry.example.com/team/%d", i/each)
		if of == OfVerify {
			err = Verified(l, manyTags(gun, i, each))
			continue
		}
		err = Read(l, &migrate.TrustNews{GUN: gun, Expiries: expiriesOf()})
		for j := i; j < i+each && err == nil; j++ {
			o := &migrate.Outcome{Repository: gun, Digest: digestOf(fmt.Sprint(j)).String(), Tags: []string{"v1"}, Result: migrate.ResultSigned}
			if j%2 == 0 {
				o.Result, o.Class, o.Reason = migrate.ResultFailed, failure.Denied, fmt.Sprintf("%0200d", j)
			}
			err = Settled(l, o)
		}
	}
	if err == nil {
		err = l.End(End{Ended: ended, Complete: true})
	}
	return err
}

func manyTags(gun string, from, n int) verify.Repository {
	r := verify.Repository{GUN: gun, Expiries: expiriesOf(), Totals: map[verify.Class]int{verify.DCTOnly: n}}
	for i := from; i < from+n; i++ {
		r.Tags = append(r.Tags, verify.Row{
			Tag: fmt.Sprint("v", i), Class: verify.DCTOnly, DCT: digestOf(fmt.Sprint(i)), Reason: fmt.Sprintf("%0200d", i),
			CertificateExpires: began.AddDate(0, 0, i),
		})
	}
	return r
}
