package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin"
	"github.com/dct2notation/dct2notation/internal/rawplugin/algorithm"
	"github.com/dct2notation/dct2notation/internal/rawplugin/chain"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// specs are KMS's signing algorithms for Notation's key specs.
var specs = map[plugin.KeySpec]types.SigningAlgorithmSpec{
	plugin.KeySpecRSA2048: types.SigningAlgorithmSpecRsassaPssSha256,
	plugin.KeySpecRSA3072: types.SigningAlgorithmSpecRsassaPssSha384,
	plugin.KeySpecRSA4096: types.SigningAlgorithmSpecRsassaPssSha512,
	plugin.KeySpecEC256:   types.SigningAlgorithmSpecEcdsaSha256,
	plugin.KeySpecEC384:   types.SigningAlgorithmSpecEcdsaSha384,
	plugin.KeySpecEC521:   types.SigningAlgorithmSpecEcdsaSha512,
}

// open asks KMS for the public key and finds its certificate. A mistyped file name costs no request.
func open(ctx context.Context, keyID string, options map[string]string) (*rawplugin.Key, error) {
	file, err := certificates(options)
	if err != nil {
		return nil, err
	}
	client, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	key, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &keyID})
	if err != nil {
		return nil, explain(err, "asking AWS KMS for the public key of %q", keyID)
	}
	a, certs, err := certified(key, file)
	if err != nil {
		return nil, err
	}
	return &rawplugin.Key{Algorithm: a, Chain: certs, Close: func() {}, Sign: func(ctx context.Context, digest []byte) ([]byte, error) {
		// Use the id that KMS answered: an alias may refer to another key by now.
		signed, err := client.Sign(ctx, &kms.SignInput{
			KeyId: key.KeyId, Message: digest, MessageType: types.MessageTypeDigest, SigningAlgorithm: specs[a.KeySpec],
		})
		if err != nil {
			return nil, explain(err, "signing with AWS KMS key %q", keyID)
		}
		if public, ok := certs[0].PublicKey.(*ecdsa.PublicKey); ok {
			return algorithm.RawECDSA(public.Curve, signed.Signature)
		}
		return signed.Signature, nil
	}}, nil
}

// certificates reads the files that plugin-config names. Unknown names are errors: they might be meant for
// credentials.
func certificates(options map[string]string) ([]*x509.Certificate, error) {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if name != "ca_certs" {
			return nil, fault.Invalid("it knows ca_certs; credentials, region and endpoint come from the AWS variables and files",
				"plugin-config has the unknown name %q", name)
		}
	}
	if options["ca_certs"] == "" {
		return nil, fault.Invalid("add --plugin-config ca_certs=FILE with the key's certificate and its issuers, root included",
			"no certificate is configured: AWS KMS keeps none")
	}
	return chain.ReadFile(options["ca_certs"])
}

// connect finds region, endpoint and credentials where all AWS programs do.
func connect(ctx context.Context) (*kms.Client, error) {
	// Retries would hide from the caller that KMS is throttling.
	c, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return nil, fault.Invalid("correct the AWS variables and files, such as AWS_PROFILE and ~/.aws/config", "reading the AWS configuration: %w", err)
	}
	if c.Region == "" {
		return nil, fault.Invalid("set AWS_REGION, or region in the profile", "no AWS region is configured")
	}
	if _, err := c.Credentials.Retrieve(ctx); err != nil {
		return nil, denied(err, "getting AWS credentials")
	}
	return kms.NewFromConfig(c), nil
}

// certified finds the certificate of the key and its chain.
func certified(key *kms.GetPublicKeyOutput, file []*x509.Certificate) (a algorithm.Algorithm, certs []*x509.Certificate, err error) {
	id := aws.ToString(key.KeyId)
	if key.KeyUsage != types.KeyUsageTypeSignVerify {
		return a, nil, fault.Invalid("create one with --key-usage SIGN_VERIFY", "AWS KMS key %q is for %s, not for signing", id, key.KeyUsage)
	}
	public, err := x509.ParsePKIXPublicKey(key.PublicKey)
	if err != nil {
		return a, nil, fault.Invalid("use an RSA key or one on P-256, P-384 or P-521", "reading the public key of AWS KMS key %q: %w", id, err)
	}
	if a, err = algorithm.Of(public); err != nil {
		return a, nil, fault.Invalid("use another key", "AWS KMS key %q: %w", id, err)
	}
	owns := func(c *x509.Certificate) bool {
		other, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		return ok && other.Equal(public)
	}
	if !slices.ContainsFunc(file, owns) {
		return a, nil, fault.Invalid("have one issued for what `aws kms get-public-key` prints, and put it first into ca_certs",
			"none of the %d certificates in ca_certs is that of AWS KMS key %q", len(file), id)
	}
	leaf, err := chain.Leaf(nil, file, owns)
	if err != nil {
		return a, nil, err
	}
	certs, err = chain.Build(leaf, file, time.Now())
	return a, certs, err
}
