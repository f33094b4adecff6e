package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/migrate/verify"
)

type inspectOptions struct {
	cli.Common
	session.RemoteOptions
	trustPolicy string
	forceTag    bool
}

func newInspect(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o inspectOptions
	c := &cobra.Command{
		Use:   "inspect [flags] IMAGE",
		Short: "Show what DCT and Notation say of one image, and why",
		Long: `Inspect looks up one image on both sides, by tag or digest: what DCT says of it, in which
role and by which signers; what the tag points to now; each Notation signature with its
signer, dates, timestamp and the tags it binds; and why the trust policy lets it pass or not.
It is docker trust inspect and notation inspect in one, and its result is that of verify.

Exit code 0: both sides agree. 4: they do not. 3: something could not be found out.`,
		Example: `  dct2notation inspect --config migration.yaml registry.example.com/team/app:v1
  dct2notation inspect --trust-pinning pins.json -o json registry.example.com/team/app@sha256:5891b5b5...`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(fmt.Errorf("one image is inspected, not %d\nhint: dct2notation inspect registry.example.com/team/app:v1", len(args)))
			}
			return nil
		},
	}
	o.Common.Bind(c.Flags())
	o.RemoteOptions.Bind(c.Flags())
	c.Flags().StringVar(&o.trustPolicy, "trust-policy", "", "trust policy (default: notation's trustpolicy.json)")
	c.Flags().BoolVar(&o.forceTag, "force-referrers-tag", false, "find signatures with the referrers tag schema, without trying the referrers API")
	cli.HideFlags(c.Flags(), "no-tty")
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runInspect(ctx, o, cfg, args[0], s)
	})
	return c
}

// inspected parses the name of an image as docker does: without tag and digest it is latest.
func inspected(name string) (full, repository, tag string, d digest.Digest, err error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err == nil && (reference.Domain(named) == "" || digest.Digest(name).Validate() == nil) {
		err = errors.New("it has no repository")
	}
	if err != nil {
		return "", "", "", "", fmt.Errorf("%s is no image: %s\nhint: name a tag or digest, such as registry.example.com/team/app:v1", safetext.Safe(name, 300), safetext.Safe(err.Error(), 300))
	}
	named = reference.TagNameOnly(named)
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		d = digested.Digest()
	}
	return named.String(), named.Name(), tag, d, nil
}

func runInspect(ctx context.Context, o inspectOptions, cfg session.Config, name string, s cli.Streams) error {
	if err := cli.FirstError(o.Common.Check, o.RemoteOptions.Check); err != nil {
		return err
	}
	full, repository, tag, d, err := inspected(name)
	if err != nil {
		return cli.Usage(err)
	}
	gun, err := cfg.Origin(repository)
	if err != nil {
		return cli.Usage(err)
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	cfg.Exclude = nil // of a migration: this image was named explicitly
	f, err := session.Connect(ctx, o.RemoteOptions, session.SelectOptions{Discover: session.DiscoverList}, cfg, []string{gun.String()}, session.Access{ReadOnly: true, ForceTag: o.forceTag}, s, log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	verifier, err := o.OpenVerifier(o.trustPolicy, f.Transport)
	if err != nil {
		return err
	}
	session.WarnOfStore(o.trustPolicy, log)
	seen := &session.Signatures{}
	result, err := f.Verification(verifier, seen.Seen).Inspect(ctx, gun, tag, d, seen.Of)
	if err != nil {
		return err
	}
	result.Image = full
	place := f.Scope.PlaceOf(gun)
	policy := report.InspectedPolicy{Reason: "no statement applies to " + place}
	if statement, err := verifier.Statement(place + "@" + digest.FromString("").String()); err == nil { // whatever the digest
		policy = report.InspectedPolicy{Name: statement.Name, Level: statement.Level, Stores: statement.Stores, Identities: statement.Identities}
	}
	write := map[string]func(io.Writer, *report.Inspected) error{"text": report.InspectText, "json": report.JSON[*report.Inspected]}[o.Output]
	if err := write(s.Out, report.NewInspected(cli.Tool(), time.Now(), result, policy)); err != nil {
		return err
	}
	switch class := result.Row.Class; {
	case class.Agrees():
		return nil
	case class == verify.Unknown:
		return cli.Exit(cli.ExitFailures)
	}
	return cli.Exit(cli.ExitDisagree)
}
