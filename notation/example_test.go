package notation_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
	"github.com/dct2notation/dct2notation/notation"
)

// A key is proven before it signs, and an envelope is checked before it is returned. Nothing is pushed.
func ExampleSigner_Sign() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	files, err := newKey(dir)
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	signer, err := notation.Open(ctx, notation.Key{Name: "release", KeyFile: files.KeyFile, CertFile: files.ChainFile}, notation.Options{})
	if err != nil {
		log.Fatal(err)
	}
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("an image"), Size: 528}
	envelope, err := signer.Sign(ctx, image, map[string]string{"io.example.tag": "1.0"})
	if err != nil {
		log.Fatal(err)
	}

	contents, err := notation.Read(envelope.MediaType, envelope.Blob)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(envelope.MediaType)
	fmt.Println("over the image:", contents.Over(image))
	fmt.Println("by the key:", notation.Thumbprint(contents.Chain[0]) == signer.Leaf())
	// Output:
	// application/jose+json
	// over the image: true
	// by the key: true
}

// newKey writes a key with a certificate of an authority of its own.
func newKey(dir string) (pki.Files, error) {
	authority, err := pki.NewAuthority("example")
	if err != nil {
		return pki.Files{}, err
	}
	key, err := pki.NewKey("release", pki.EC256)
	if err != nil {
		return pki.Files{}, err
	}
	release, err := authority.Issue("release", key)
	if err != nil {
		return pki.Files{}, err
	}
	return release.Save(dir, "release")
}
