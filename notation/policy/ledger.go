package policy

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/notation"
)

// A Ledger is what a policy is written from of a ledger. That it is not forged is not known: it can leave
// repositories out, or add some, and has no say about whose signatures are good.
type Ledger struct {
	Recorded   func(key string) []Recorded // by the name of a key; nil if no run was bound to the ledger
	Signatures iter.Seq2[Signature, error] // all that were ever made
	Images     iter.Seq2[Image, error]     // those of the selected repositories
}

// Recorded is what a ledger has of a key: two of one name if the key was moved.
type Recorded struct {
	Identity string   // as package notation writes it
	Earlier  []string // identities that it had before
	Chain    [][]byte // DER, leaf first
	TSA      string   // URL
}

// A Signature is one that a key made.
type Signature struct {
	Key    string
	Digest string
	Leaf   string // thumbprint of the certificate
}

// An Image is one in a repository, and what became of it.
type Image struct {
	Place     string
	GUN       string
	Key       string // its name
	Signature string // the digest of the signature, if it is signed
	State     ImageState
}

// An ImageState says whether an image is signed.
type ImageState string

// The states of images.
const (
	Signed     ImageState = "signed"
	Unsigned   ImageState = "unsigned"   // and there is a reason not to sign it
	Unfinished ImageState = "unfinished" // a run has begun with it
	Undone     ImageState = "undone"     // its signature was deleted
	Gone       ImageState = "gone"       // from the registry: nobody can run it
)

// ReadLedger takes in what runs have signed, and tells of what they have not.
func (m *Migrated) ReadLedger(l Ledger) error {
	m.recorded, m.images = l.Recorded, map[string]map[string]int{}
	if err := m.readSignatures(l.Signatures); err != nil {
		return err
	}
	return m.readImages(l.Images)
}

// readSignatures finds the signatures by other certificates than the last of their key.
func (m *Migrated) readSignatures(all iter.Seq2[Signature, error]) error {
	m.odd, m.leaves, m.signer = map[string]string{}, map[string]map[string]int{}, map[string]map[string]bool{}
	last := map[string]string{}
	for s, err := range all {
		if err != nil {
			return err
		}
		if _, ok := last[s.Key]; !ok {
			last[s.Key] = m.leafOf(s.Key)
			m.signer[s.Key] = map[string]bool{}
		}
		m.signer[s.Key][s.Leaf] = true
		if s.Leaf != last[s.Key] {
			m.odd[s.Digest] = s.Leaf
		}
	}
	return nil
}

func (m *Migrated) readImages(all iter.Seq2[Image, error]) error {
	left, places := map[string]map[ImageState]int{}, map[string]int{} // images that are not signed: by place and state, and those that count
	for i, err := range all {
		if err != nil {
			return err
		}
		if i.State == Signed {
			m.add(i.Place, i.GUN, i.Key)
			m.count(i)
			continue
		}
		if left[i.Place] == nil {
			left[i.Place] = map[ImageState]int{}
		}
		left[i.Place][i.State]++
		if i.State != Gone {
			places[i.Place]++
		}
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		m.tellUnsigned(place, places[place], left[place])
	}
	for _, place := range slices.Sorted(maps.Keys(left)) {
		if m.signed[place] == nil && places[place] == 0 {
			m.log.Warn("left out: all of its images are gone from the registry", "repository", safetext.Safe(place, 256), "images", left[place][Gone])
		}
	}
	return nil
}

// tellUnsigned tells of the images of a repository that are not signed, n in all.
func (m *Migrated) tellUnsigned(place string, n int, left map[ImageState]int) {
	shown := safetext.Safe(place, 256)
	if m.signed[place] == nil {
		m.Problem("left out: none of its images is signed", "repository", shown, "images", n)
		return
	}
	if open := left[Unfinished]; open > 0 {
		m.Problem("images that a run has begun with are not signed yet, and are refused: run again first", "repository", shown, "images", open)
	}
	if undone := left[Undone]; undone > 0 {
		m.log.Warn("images whose signatures undo has deleted are refused, until a run signs them again: it does so unless DCT has withdrawn them", "repository", shown, "images", undone)
	}
	if never := left[Unsigned]; never > 0 {
		m.log.Warn("images without a signature would be refused", "repository", shown, "images", never)
	}
	m.Notes = append(m.Notes, fmt.Sprintf("%s: %d of its images had no signature when this was written, and are refused: dct2notation plan shows which.", shown, n))
}

// count counts a signature by its place, and by the certificate that made it.
func (m *Migrated) count(i Image) {
	if m.images[i.Place] == nil {
		m.images[i.Place] = map[string]int{}
	}
	m.images[i.Place][i.Key]++
	leaf, ok := m.odd[i.Signature]
	if !ok {
		return
	}
	if m.leaves[i.Key] == nil {
		m.leaves[i.Key] = map[string]int{}
	}
	m.leaves[i.Key][leaf]++
}

// recordedOf is something that the ledger has of the key of a name. Of two keys with different values it says nothing.
func (m *Migrated) recordedOf(name string, of func(Recorded) string) (found string) {
	if m.recorded == nil {
		return ""
	}
	for _, r := range m.recorded(name) {
		value := of(r)
		if found != "" && value != "" && found != value {
			return ""
		}
		found = cmp.Or(value, found)
	}
	return found
}

// chainOf is what the ledger says of a key's certificate, which vouches for nothing.
func (m *Migrated) chainOf(name string) []*x509.Certificate {
	der := m.recordedOf(name, func(r Recorded) string { return string(bytes.Join(r.Chain, nil)) })
	chain, err := x509.ParseCertificates([]byte(der))
	if err != nil {
		return nil
	}
	return chain
}

// leafOf is the certificate that the ledger says signs with a key, by its thumbprint.
func (m *Migrated) leafOf(name string) string {
	i, err := notation.ParseIdentity(m.recordedOf(name, func(r Recorded) string { return r.Identity }))
	if err != nil {
		return "" // not recorded, or of no single certificate
	}
	return i.Leaf()
}

// authorityOf is the time-stamping authority that the ledger has of a key.
func (m *Migrated) authorityOf(name string) string {
	return m.recordedOf(name, func(r Recorded) string { return r.TSA })
}

// stamped reports whether a run with the ledger may have had signatures of a key countersigned.
// The ledger has the authority from the first such run on and never loses it, and says of no
// single signature whether it was: those of before, and those of later runs without, are not
// told apart.
func (m *Migrated) stamped(name string) bool {
	return slices.ContainsFunc(m.recorded(name), func(r Recorded) bool { return r.TSA != "" })
}

// TellUnstamped tells of images that a consumer refuses because it asks every signature for a
// timestamp, once it is told of an authority. Without a ledger nothing is known of them.
func (m *Migrated) TellUnstamped(c Consumer, t Trust) {
	if m.recorded == nil {
		return
	}
	images := map[string]int{}
	for _, s := range t.Statements {
		some := len(s.tsa()) > 0
		told := map[string]bool{} // a key whose certificate was renewed is there twice
		for _, k := range s.Keys {
			if m.stamped(k.Name) || told[k.Name] || !c.wantsTimestamp(t, k, some) {
				continue
			}
			told[k.Name] = true
			for _, place := range s.Repositories {
				images[k.Name] += m.images[place][k.Name]
			}
		}
	}
	for _, name := range m.keys() {
		if images[name] > 0 {
			m.Problem("images are refused: the consumer asks for timestamps, and no run had signatures of the key timestamped: leave out --timestamp-root-cert, or have the images signed again with --timestamp-url",
				"consumer", c.Name, "key", safetext.Safe(name, 128), "images", images[name])
		}
	}
}
