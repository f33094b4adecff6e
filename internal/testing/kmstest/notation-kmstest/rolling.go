//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	"github.com/dct2notation/dct2notation/internal/testing/kmstest"
	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

// A leaf records how a key's certificate was made and what it has signed since. It is stored beside the certificate,
// in a file that is locked while either changes.
type leaf struct {
	Rolling    kmstest.Rolling `json:"rolling"`
	Of         []byte          `json:"of"` // the certificate whose subject it has
	Made       time.Time       `json:"made"`
	Signatures int             `json:"signatures"`
}

// renewed returns what the key signs with now, and counts one more signature.
func (j *job) renewed(id *pki.Identity) (*pki.Identity, error) {
	rolling := j.behaviour.Rolling
	if rolling == nil {
		return id, nil
	}
	dir, name := kmstest.LeavesDir(j.path), fmt.Sprintf("%x", sha256.Sum256([]byte(j.request.KeyID)))[:16]
	file, err := tally{dir}.open(name + ".json")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var l leaf
	old := json.NewDecoder(file).Decode(&l) // none yet, or a process was killed while it wrote
	at := pki.Files{KeyFile: filepath.Join(dir, name+".key"), ChainFile: filepath.Join(dir, name+".crt")}
	current, missing := at.Load()
	if old != nil || missing != nil || !bytes.Equal(l.Of, id.Certificate().Raw) || !reflect.DeepEqual(l.Rolling, *rolling) || l.due(current) {
		if current, err = issue(*rolling, id); err != nil {
			return nil, err
		}
		if _, err = current.Save(dir, name); err != nil {
			return nil, err
		}
		l = leaf{Rolling: *rolling, Of: id.Certificate().Raw, Made: time.Now()}
	}
	l.Signatures++
	content, err := json.Marshal(l)
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.WriteAt(content, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping a renewed certificate: %w", err)
	}
	return current, nil
}

func (l leaf) due(current *pki.Identity) bool {
	return l.Rolling.Signatures > 0 && l.Signatures >= l.Rolling.Signatures ||
		l.Rolling.Ms > 0 && time.Since(l.Made) >= time.Duration(l.Rolling.Ms)*time.Millisecond ||
		time.Now().After(current.Certificate().NotAfter)
}

// issue makes a certificate like that of id for a new key.
func issue(rolling kmstest.Rolling, id *pki.Identity) (*pki.Identity, error) {
	authority, err := rolling.Authority.Load()
	if err != nil {
		return nil, err
	}
	algorithm, err := id.Algorithm()
	if err != nil {
		return nil, err
	}
	key, err := pki.NewKey("kmstest renewed", algorithm)
	if err != nil {
		return nil, err
	}
	life := 72 * time.Hour
	if rolling.LifetimeMs != 0 {
		life = time.Duration(rolling.LifetimeMs) * time.Millisecond
	}
	// Valid from a minute ago, since callers record the time of signing before they ask.
	return authority.Issue("", key, pki.Valid(time.Now().Add(-time.Minute), time.Now().Add(life)), func(c *x509.Certificate) {
		c.RawSubject, c.UnknownExtKeyUsage = id.Certificate().RawSubject, rolling.EKUs
	})
}
