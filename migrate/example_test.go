package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
	"github.com/dct2notation/dct2notation/internal/testing/scenetest"
)

// A plan says what a run would sign, and why it would not sign the rest. The registry and the key
// are in memory here.
func ExampleEngine_MakePlan() {
	server, err := notarytest.Start(notarytest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	images := &scenetest.World{Images: map[digest.Digest]ocispec.Descriptor{}, Tagged: map[string]digest.Digest{}}
	repository, err := server.NewRepository(scenetest.App)
	if err != nil {
		log.Fatal(err)
	}
	deleted := digest.FromString("an image that was deleted")
	err = errors.Join(repository.Sign("1.0", images.Put("1.0").Encoded(), 100), repository.Sign("0.9", deleted.Encoded(), 100), repository.Publish())
	if err != nil {
		log.Fatal(err)
	}
	gun, err := dct.ParseGUN(scenetest.App)
	if err != nil {
		log.Fatal(err)
	}

	world := newWorld(images)
	engine := &Engine{
		Trust: &dct.Reader{
			Pins: dct.Pins{Certs: map[string][]string{scenetest.App: repository.RootKeyIDs()}},
			Source: &dct.Server{
				URL:  func(string) string { return server.URL() },
				HTTP: func(string) dct.Doer { return http.DefaultClient },
			},
		},
		Registry: &scene{Scene: &scenetest.Scene{World: images}, world: world},
		Keys:     []Key{{Signer: world}},
		Workers:  1, Tool: "example/1",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	plan, err := engine.MakePlan(context.Background(), []dct.GUN{gun})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range plan.Repositories {
		for _, item := range r.Items {
			fmt.Println(item.Tags[0].Tag, item.Action)
		}
	}
	fmt.Println("key operations:", plan.Cost.Operations)
	// Output:
	// 1.0 sign
	// 0.9 skip
	// key operations: 1
}
