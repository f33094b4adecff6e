package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/output"
	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/session"
	"github.com/dct2notation/dct2notation/dct"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/migrate"
	"github.com/dct2notation/dct2notation/migrate/report"
	"github.com/dct2notation/dct2notation/notation"
)

// pushedFormats are the files of a pushed report: one for programs, two for people.
var pushedFormats = []string{"jsonl", "csv", "html"}

type reportPushOptions struct {
	output.SavedResults
	cli.Common
	session.RegistryOptions
	session.KeyOptions
	last     string
	forceTag bool
}

func newReportPush(stop <-chan struct{}, s cli.Streams) *cobra.Command {
	var o reportPushOptions
	c := &cobra.Command{
		Use:   "push [flags] REPOSITORY[:TAG] [FILE]",
		Short: "Push a saved result to a registry, signed with Notation",
		Long: `Push stores the result of the last run or verify, or a saved one, as an OCI artifact and signs
it with the key, so that notation verify can check who made it and that it is unchanged;
oras pull fetches its files. An existing tag is not overwritten.`,
		Example: `  dct2notation report push --last verify --key release registry.example.com/team/reports:2026-12-01
  notation verify registry.example.com/team/reports:2026-12-01`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usage(errors.New("report push takes REPOSITORY[:TAG] and one file at most"))
			}
			return nil
		},
	}
	f := c.Flags()
	output.BindLast(f, &o.last)
	o.SavedResults.Bind(f)
	f.BoolVar(&o.forceTag, "force-referrers-tag", false, "store the signature with the referrers tag schema, without trying the referrers API")
	o.KeyOptions.Bind(f)
	o.RegistryOptions.Bind(f)
	o.Common.Bind(f)
	c.RunE = session.Action(stop, func(ctx context.Context, cfg session.Config, args []string) error {
		return runReportPush(ctx, o, cfg, args, s)
	})
	return c
}

const reportPushKind = "dct2notation.report-push"

// pushedReport is the result of report push, as JSON.
type pushedReport struct {
	Version   int    `json:"version"`
	Kind      string `json:"kind"`
	Reference string `json:"reference"` // by digest
	Tag       string `json:"tag,omitempty"`
	Signature string `json:"signature"` // the digest of its manifest
	Signed    bool   `json:"signed"`    // by this call; otherwise it was signed before
	Well      bool   `json:"well"`      // what the report says
}

func runReportPush(ctx context.Context, o reportPushOptions, cfg session.Config, args []string, s cli.Streams) error {
	if err := cli.FirstError(o.Common.Check, o.RegistryOptions.Check, o.KeyOptions.Check); err != nil {
		return err
	}
	if len(cfg.Keys) > 0 && o.Key == "" && o.Plugin == "" {
		return cli.Usage(errors.New("the configuration has several keys: choose the one that signs the report with --key, or --plugin and --id"))
	}
	name, tag := splitTag(args[0])
	if _, err := dct.ParseGUN(name); err != nil {
		return cli.Usage(err)
	}
	saved, err := o.Saved(o.last, args[1:])
	if err != nil {
		return err
	}
	packed, err := report.Pack(saved, pushedFormats...)
	if err != nil {
		return err
	}
	evidence, err := migrate.NewEvidence(packed.Manifest)
	if err != nil {
		return err
	}
	session.UseNotationFolders()
	log := o.Logger(s.Err)
	// No Notary server is asked.
	remote := session.RemoteOptions{RegistryOptions: o.RegistryOptions, Source: session.SourceServer, CacheDir: "none", DockerTrust: "none", NotaryLimit: 1}
	r, err := session.ConnectServers(remote, cfg, []string{migrate.HostOf(name)}, session.Access{ForceTag: o.forceTag}, s, log)
	if err != nil {
		return err
	}
	key, err := r.OpenKey(ctx, o.KeyOptions, nil, log)
	if err != nil {
		return err
	}
	out, err := pushReport(ctx, r, key, o.Metadata, name, tag, packed, evidence)
	if err != nil {
		return err
	}
	out.Well = saved.End.Well
	if o.Output == "json" {
		return report.JSON(s.Out, out)
	}
	signed := "signed by"
	if !out.Signed {
		signed = "signed before by"
	}
	_, err = fmt.Fprintf(s.Out, "pushed %s\n%s %s\n", out.Reference, signed, out.Signature)
	return err
}

// pushReport stores the report, then its signature. An existing signature of the key is enough: pushing again costs
// no key operation.
func pushReport(ctx context.Context, r *session.Servers, key *notation.Signer, metadata map[string]string, name, tag string, packed *report.Packed, evidence migrate.Evidence) (*pushedReport, error) {
	image, err := r.PushReport(ctx, name, packed, tag)
	if err != nil {
		return nil, err
	}
	out := &pushedReport{Version: 1, Kind: reportPushKind, Reference: name + "@" + image.Descriptor.Digest.String(), Tag: tag}
	signatures := &session.SignatureRegistry{ImageRegistry: session.ImageRegistry{Client: r.Registry}, Signers: map[string]*notation.Signer{key.Name(): key}}
	found, err := signatures.Find(ctx, image, key.Name())
	if err != nil {
		return nil, err
	}
	if len(found.Ours) > 0 {
		out.Signature = found.Ours[0].Digest
		return out, nil
	}
	e, err := (&migrate.Attestor{Signer: session.Signer{Signer: key}, Tool: cli.Tool(), Metadata: metadata}).AttestReport(ctx, evidence)
	if err != nil {
		return nil, fmt.Errorf("signing the report: %w", err)
	}
	if _, err := signatures.Push(ctx, image, e, found.InTag); err != nil {
		return nil, err
	}
	listed, err := signatures.Listed(ctx, image)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(listed, e.ManifestDigest):
		return nil, fmt.Errorf("%s: the registry accepted the signature but does not list it\nhint: push again; no key operation is spent once it does", safetext.Safe(out.Reference, 300))
	}
	out.Signature, out.Signed = e.ManifestDigest, true
	return out, nil
}

// splitTag splits a reference into name and tag; the tag may be empty.
func splitTag(reference string) (name, tag string) {
	slash := strings.LastIndex(reference, "/")
	if colon := strings.LastIndex(reference, ":"); colon > slash {
		return reference[:colon], reference[colon+1:]
	}
	return reference, ""
}
