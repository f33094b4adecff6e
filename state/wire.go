package state

import "time"

// The records as they are written. They are separate from the types that callers see, so that a renamed field does
// not change the file.

const (
	bucketMeta         = "meta"
	bucketRepositories = "repositories"
	bucketItems        = "items"
	bucketOutbox       = "outbox"
	bucketEvents       = "events"
)

// buckets lists all buckets of a ledger; no other may exist.
var buckets = []string{bucketMeta, bucketRepositories, bucketItems, bucketOutbox, bucketEvents}

// Keys in the bucket meta.
var (
	keySchema      = []byte("schema") // four bytes, big endian: readable by every version
	keyOrigin      = []byte("origin")
	keyTally       = []byte("tally")
	keyFingerprint = []byte("fingerprint")
)

// schemaVersion is the schema that this version writes. Whoever changes a record raises it, adds a function to
// upgrades and a fixture of the previous schema to testdata.
const schemaVersion = 2

type originRecord struct {
	stamp
	CreatedBy     string    `json:"created_by"`
	CreatedAt     time.Time `json:"created_at"`
	LastWrittenBy string    `json:"last_written_by"`
}

// tallyRecord is updated in the same transactions as items and events.
type tallyRecord struct {
	stamp
	Counts    map[Stage]int `json:"counts"`
	Events    uint64        `json:"events"`     // number of the last event
	LastEvent string        `json:"last_event"` // its sha256, hex
}

type fingerprintRecord struct {
	stamp
	Fields fields `json:"fields"`
}

// keyRecord repeats a record's key inside it, as a check and for people who read the file with other tools.
type keyRecord struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	KeyName    string `json:"key"`
}

type itemRecord struct {
	stamp
	keyRecord
	Stage     Stage             `json:"stage"`
	GUN       string            `json:"gun,omitempty"`
	MediaType string            `json:"media_type,omitempty"`
	Size      int64             `json:"size"`
	Tags      []Tag             `json:"tags,omitempty"`
	Indexes   []string          `json:"indexes,omitempty"`
	Notes     []string          `json:"notes,omitempty"`
	Class     string            `json:"class,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Signature string            `json:"signature,omitempty"`
	Attempts  int               `json:"attempts,omitempty"`
	Bound     map[string]string `json:"bound,omitzero"`     // {} differs from absent
	SignedBy  SignedBy          `json:"signed_by,omitzero"` // from version 2 on
	Updated   time.Time         `json:"updated"`
}

func (itemRecord) newest() int { return 2 }

type outboxRecord struct {
	stamp
	keyRecord
	Envelope
}

func (outboxRecord) newest() int { return 2 }

type repositoryRecord struct {
	stamp
	GUN        string           `json:"gun"`
	Roles      map[string]Floor `json:"roles,omitempty"`
	Root       []byte           `json:"root,omitempty"`
	Pin        string           `json:"pin,omitempty"`
	RootKeyIDs []string         `json:"root_key_ids,omitempty"`
	RootKeys   []string         `json:"root_keys,omitempty"` // since version 2
	VerifiedAt time.Time        `json:"verified_at"`
}

func (repositoryRecord) newest() int { return 2 }

type eventRecord struct {
	stamp
	Seq            uint64     `json:"seq"`
	Time           time.Time  `json:"time"`
	Kind           EventKind  `json:"kind"`
	Item           *keyRecord `json:"item,omitempty"`
	GUN            string     `json:"gun,omitempty"`
	Signature      string     `json:"signature,omitempty"`
	LeafThumbprint string     `json:"leaf_thumbprint,omitempty"`
	Class          string     `json:"class,omitempty"`
	Reason         string     `json:"reason,omitempty"`
	Chain          [][]byte   `json:"chain,omitempty"`
	Previous       string     `json:"previous"`
}
