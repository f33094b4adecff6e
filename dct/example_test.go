package dct_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/testing/notarytest"
)

// A repository is read from its Notary server and verified from a pinned root. Without the pin it is refused.
func ExampleReader_Read() {
	server, err := notarytest.Start(notarytest.Options{}) // in this process
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	const name = "registry.example.com/team/app"
	repository, err := server.NewRepository(name)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(repository.AddSigner("alice"), repository.Sign("1.0", strings.Repeat("ab", 32), 528), repository.Publish()); err != nil {
		log.Fatal(err)
	}

	gun, err := dct.ParseGUN(name)
	if err != nil {
		log.Fatal(err)
	}
	reader := dct.Reader{Source: &dct.Server{
		URL:  func(string) string { return server.URL() },
		HTTP: func(string) dct.Doer { return http.DefaultClient },
	}}
	_, err = reader.Read(context.Background(), gun, dct.Known{})
	fmt.Println("without a pin:", errors.Is(err, dct.ErrUnpinnedRoot))

	reader.Pins = dct.Pins{Certs: map[string][]string{name: repository.RootKeyIDs()}}
	read, err := reader.Read(context.Background(), gun, dct.Known{})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range read.Targets() {
		fmt.Println(t.Tag(), t.Digest(), t.Role(), t.Signers())
	}
	// Output:
	// without a pin: true
	// 1.0 sha256:abababababababababababababababababababababababababababababababab targets/releases [targets/alice]
}
