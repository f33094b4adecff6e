package state

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
)

// keyReferrers is the key that records that a repository of a registry has the referrers API.
func keyReferrers(repository string) []byte { return []byte("referrers " + repository) }

// HasReferrers reports whether a repository of a registry was seen to have the referrers API.
func (l *Ledger) HasReferrers(repository string) (bool, error) {
	found := false
	err := l.view(func(t *table) (err error) {
		found, err = t.hasReferrers(repository)
		return err
	})
	return found, err
}

func (t *table) hasReferrers(repository string) (bool, error) {
	var r referrersRecord
	found, err := t.get(bucketMeta, keyReferrers(repository), &r)
	if err == nil && found && r.Repository != repository {
		err = damage("the record of the referrers API of %q names %q", repository, r.Repository)
	}
	return found, err
}

// Referrers returns the repositories that were seen to have the referrers API.
func (l *Ledger) Referrers() ([]string, error) {
	var all []string
	err := l.view(func(t *table) error {
		c, prefix := t.tx.Bucket([]byte(bucketMeta)).Cursor(), keyReferrers("")
		for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
			repository := string(key[len(prefix):])
			if _, err := t.hasReferrers(repository); err != nil {
				return err
			}
			all = append(all, repository)
		}
		return nil
	})
	return all, err
}

// HostHasReferrers reports whether any repository of a registry's host was seen to have the referrers API.
func (l *Ledger) HostHasReferrers(host string) (bool, error) {
	found := false
	err := l.view(func(t *table) (err error) {
		prefix := keyReferrers(host + "/")
		key, _ := t.tx.Bucket([]byte(bucketMeta)).Cursor().Seek(prefix)
		if bytes.HasPrefix(key, prefix) {
			found, err = t.hasReferrers(string(bytes.TrimPrefix(key, keyReferrers(""))))
		}
		return err
	})
	return found, err
}

// SetReferrers records that a repository of a registry has the referrers API. It stays recorded: a later answer
// without the API is no reason to sign again what the API may list.
func (l *Ledger) SetReferrers(repository string) error {
	if repository == "" || len(repository) > maxName || !utf8.ValidString(repository) {
		return fmt.Errorf("repository %s: not a usable name", plain(repository))
	}
	if known, err := l.HasReferrers(repository); known || err != nil {
		return err // nothing to write, as in every run but the first
	}
	return l.do(func(b *batch) error {
		return b.put(bucketMeta, keyReferrers(repository), referrersRecord{stamp{recordV}, repository, b.now})
	})
}

// referrersRecord exists only if the API was seen.
type referrersRecord struct {
	stamp
	Repository string    `json:"repository"`
	Seen       time.Time `json:"seen"`
}
