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

// A Ledger is what a policy needs of a ledger. It may be forged: it can omit or add repositories, but has no say
// about whose signatures are good.
type Ledger struct {
	Recorded   func(key string) []Recorded // by the name of a key; nil if the ledger is not bound
	Signatures iter.Seq2[Signature, error] // all ever made
	Images     iter.Seq2[Image, error]     // of the selected repositories
}

// Recorded is what a ledger records about a key. A moved key has two of the same name.
type Recorded struct {
	Identity string   // as package notation writes it
	Earlier  []string // earlier identities
	Chain    [][]byte // DER, leaf first
	TSA      string   // URL
}

// A Signature is a signature made by a key.
type Signature struct {
	Key    string
	Digest string
	Leaf   string // thumbprint of the certificate
}

// An Image is an image in a repository, with its state.
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
	Unsigned   ImageState = "unsigned"   // for a reason
	Unfinished ImageState = "unfinished" // begun by a run
	Undone     ImageState = "undone"     // its signature was deleted
	Gone       ImageState = "gone"       // gone from the registry: nobody can run it
)

// ReadLedger collects what runs have signed, and warns about what they have not.
func (m *Migrated) ReadLedger(l Ledger) error {
	m.recorded, m.images = l.Recorded, map[string]map[string]int{}
	if err := m.readSignatures(l.Signatures); err != nil {
		return err
	}
	return m.readImages(l.Images)
}

// readSignatures finds the signatures made with other certificates than their key's last one.
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
	left, places := map[string]map[ImageState]int{}, map[string]int{} // unsigned images: by place and state, and those that count
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

// tellUnsigned warns about the unsigned images of a repository, n in all.
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

// count counts a signature by its place and its certificate.
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

// recordedOf returns a value that the ledger records for the key with that name. If two keys have different values it
// returns nothing.
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

// chainOf returns a key's certificate chain from the ledger, which vouches for nothing.
func (m *Migrated) chainOf(name string) []*x509.Certificate {
	der := m.recordedOf(name, func(r Recorded) string { return string(bytes.Join(r.Chain, nil)) })
	chain, err := x509.ParseCertificates([]byte(der))
	if err != nil {
		return nil
	}
	return chain
}

// leafOf returns the thumbprint of a key's signing certificate according to the ledger.
func (m *Migrated) leafOf(name string) string {
	i, err := notation.ParseIdentity(m.recordedOf(name, func(r Recorded) string { return r.Identity }))
	if err != nil {
		return "" // not recorded, or not a single certificate
	}
	return i.Leaf()
}

// authorityOf returns a key's time-stamping authority according to the ledger.
func (m *Migrated) authorityOf(name string) string {
	return m.recordedOf(name, func(r Recorded) string { return r.TSA })
}

// stamped reports whether a run with the ledger may have had a key's signatures countersigned. The ledger keeps the
// authority from the first such run on, but does not record it per signature: earlier signatures, and those of later
// runs without it, look the same.
func (m *Migrated) stamped(name string) bool {
	return slices.ContainsFunc(m.recorded(name), func(r Recorded) bool { return r.TSA != "" })
}

// TellUnstamped warns about images that a consumer refuses because it requires a timestamp on every signature once it
// has an authority. Without a ledger nothing is known about them.
func (m *Migrated) TellUnstamped(c Consumer, t Trust) {
	if m.recorded == nil {
		return
	}
	images := map[string]int{}
	for _, s := range t.Statements {
		some := len(s.tsa()) > 0
		told := map[string]bool{} // a key with a renewed certificate appears twice
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
