package state_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/dct2notation/dct2notation/state"
)

// A process is killed after it has signed. The next one finds the envelope in the ledger, and pushes the same bytes.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ledger.db")
	key := state.Key{
		Repository: "registry.example.com/team/app", KeyName: "release",
		Digest: "sha256:abababababababababababababababababababababababababababababababab",
	}

	ledger, err := state.Open(path, state.Options{Tool: "example/1"})
	if err != nil {
		log.Fatal(err)
	}
	planned, err := ledger.Plan([]state.Item{{Key: key, GUN: key.Repository, Tags: []state.Tag{{Name: "1.0", Role: "targets"}}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(planned[0].Stage)
	// From here on no crash costs another key operation: the envelope is on the disk.
	err = ledger.Sign(key, state.Envelope{MediaType: "application/jose+json", Blob: []byte("{}"), Manifest: []byte("{}"), ManifestDigest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", LeafThumbprint: "00"})
	if err := errors.Join(err, ledger.Close()); err != nil {
		log.Fatal(err)
	}

	ledger, err = state.Open(path, state.Options{Tool: "example/1"})
	if err != nil {
		log.Fatal(err)
	}
	defer ledger.Close()
	envelope, found, err := ledger.Envelope(key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("to be pushed again:", found, len(envelope.Blob), "bytes")
	if err := errors.Join(ledger.Push(key, envelope.ManifestDigest), ledger.Confirm(key, envelope.ManifestDigest, "the registry's list")); err != nil {
		log.Fatal(err)
	}
	counts, err := ledger.Counts()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("confirmed:", counts[state.Confirmed])
	// Output:
	// planned
	// to be pushed again: true 2 bytes
	// confirmed: 1
}
