package command

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/notation/policy"
	"github.com/dct2notation/dct2notation/state"
)

// migrated is what a policy is written from.
type migrated struct {
	signed   map[string][]string // key names by the place of the images
	guns     map[string]bool     // names in DCT
	known    *state.Fingerprint  // of the ledger; nil without one
	legacy   []policy.Legacy
	notes    []string
	problems []string // why what is written is not all that is meant, or should not be relied on

	images map[string]map[string]int  // good signatures by place and key; nil without a ledger
	odd    map[string]string          // by signature: the certificate that made it, where that is not the ledger's last
	leaves map[string]map[string]int  // by key: how many good signatures each of those made
	signer map[string]map[string]bool // by key: the certificates that ever signed
}

func (m *migrated) add(place, gun, key string) {
	if m.guns == nil {
		m.guns = map[string]bool{}
	}
	m.guns[gun] = true
	if !slices.Contains(m.signed[place], key) {
		m.signed[place] = append(m.signed[place], key)
	}
}

// problem tells of something that makes the output incomplete, and keeps it for the result.
func (m *migrated) problem(log *slog.Logger, what string, attrs ...any) {
	log.Error(what, attrs...)
	for i := 0; i+1 < len(attrs); i += 2 {
		mark := ", "
		if i == 0 {
			mark = ": "
		}
		what += fmt.Sprintf("%s%v %v", mark, attrs[i], attrs[i+1])
	}
	m.problems = append(m.problems, what)
}

// Keys are the names of the keys that signed.
func (m *migrated) keys() []string {
	names := map[string]bool{}
	for _, keys := range m.signed {
		for _, k := range keys {
			names[k] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// fromTrustData finds what DCT vouches for, and which key of the configuration stands for it.
func (o *policyOptions) fromTrustData(ctx context.Context, m *migrated, cfg session.Config, args []string, s cli.Streams, log *slog.Logger) error {
	rules, err := o.Rules(cfg)
	if err != nil {
		return err
	}
	keys := map[string]migrate.Key{}
	for _, rule := range rules {
		k, err := rule.NotationKey()
		if err != nil {
			return err
		}
		keys[k.Name] = rule.EngineKey(nil)
		if len(rule.Roles) > 0 {
			m.notes = append(m.notes, fmt.Sprintf("Key %s stands for the DCT roles %s.", safetext.Safe(k.Name, 128), strings.Join(rule.Roles, ", ")))
		}
	}
	f, err := session.Connect(ctx, o.RemoteOptions, o.SelectOptions, cfg, args, session.Access{ReadOnly: true}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	if f.Unlisted != nil {
		return f.Unlisted // it speaks of all of them
	}
	reader := f.Reader()
	unread := false // there may be trust data that nobody has seen
	for _, gun := range f.GUNs {
		r, err := reader.Read(ctx, gun, dct.Known{})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, dct.ErrUnsigned) && f.Found(gun):
		case err != nil:
			m.problem(log, "left out", append([]any{"repository", gun.String()}, cli.Reasoned(err.Error())...)...)
			unread = unread || !errors.Is(err, dct.ErrUnsigned)
		default:
			m.read(f, r, keys, log)
		}
	}
	if unread && len(m.signed) == 0 {
		return errors.New("the trust data of no repository that is meant could be read: see the messages\nhint: dct2notation doctor looks at the Notary server and the pins of its roots")
	}
	m.notes = append(m.notes, "The repositories are those that DCT vouches for. Whether their images are signed by now, and by these certificates, has not been looked at: dct2notation verify tells.")
	return nil
}

// read takes in the verified trust data of a repository.
func (m *migrated) read(f *session.Session, r *dct.Repository, keys map[string]migrate.Key, log *slog.Logger) {
	gun := r.GUN()
	place := f.Scope.Place(gun)
	uncovered, wanted := 0, 0
	for _, t := range r.Targets() {
		if !f.Scope.Wanted(t.Tag()) {
			continue
		}
		wanted++
		covered := false
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			if keys[name].Signs(t) {
				covered = true
				m.add(place, gun.String(), name)
			}
		}
		if !covered {
			uncovered++
		}
	}
	if uncovered > 0 {
		m.problem(log, "no key stands for some of its tags: their images would be refused", "repository", gun.String(), "tags", uncovered)
	}
	if wanted == 0 {
		m.problem(log, "left out: it has no tag that matches --include-tags and --exclude-tags", "repository", gun.String())
		return
	}
	if place != gun.String() {
		return // DCT says nothing of the new place
	}
	key, ok := rootKey(r)
	u, err := url.Parse(f.NotaryURL(gun.Registry()))
	if ok && err == nil {
		m.legacy = append(m.legacy, policy.Legacy{Server: u.Host, RootKey: key, Repositories: []string{place}})
	}
}

// rootKey is the public key of a repository's root in PEM, where it has one only. The root is
// verified.
func rootKey(r *dct.Repository) ([]byte, bool) {
	var root struct {
		Signed struct {
			Keys map[string]struct {
				Type  string `json:"keytype"`
				Value struct {
					Public []byte `json:"public"`
				} `json:"keyval"`
			} `json:"keys"`
			Roles map[string]struct {
				KeyIDs []string `json:"keyids"`
			} `json:"roles"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(r.Known().Root, &root); err != nil || len(root.Signed.Roles["root"].KeyIDs) != 1 {
		return nil, false
	}
	key := root.Signed.Keys[root.Signed.Roles["root"].KeyIDs[0]]
	block, _ := pem.Decode(key.Value.Public)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, false
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: c.RawSubjectPublicKeyInfo}), true
}

// pinNotes says what has become of pins that Notation has nothing like.
func (o *policyOptions) pinNotes(m *migrated, cfg session.Config) ([]string, error) {
	pins, err := o.Pins(cfg)
	if err != nil {
		return nil, err
	}
	var notes []string
	names := slices.Concat(slices.Collect(maps.Keys(pins.Certs)), slices.Collect(maps.Keys(pins.RootKeys)))
	for _, pin := range slices.Sorted(slices.Values(names)) {
		prefix, wild := strings.CutSuffix(pin, "*")
		if !wild {
			continue
		}
		n := 0
		for gun := range m.guns {
			if strings.HasPrefix(gun, prefix) {
				n++
			}
		}
		notes = append(notes, fmt.Sprintf("The pin %s of DCT stands here for %s, by name: Notation knows no patterns. For a new repository, write this policy anew.", safetext.Safe(pin, 256), safetext.Count(n, "repository")))
	}
	for _, prefix := range slices.Sorted(maps.Keys(pins.CA)) {
		notes = append(notes, fmt.Sprintf("The authority that DCT pinned for %s issued certificates of root keys. It is trusted for no signature here.", safetext.Safe(prefix, 256)))
	}
	return notes, nil
}
