package notation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corex509 "github.com/notaryproject/notation-core-go/x509"
	"github.com/notaryproject/tspclient-go"
	"github.com/notaryproject/tspclient-go/pki"

	"github.com/dct2notation/dct2notation/internal/certfile"
	"github.com/dct2notation/dct2notation/internal/failure"
	"github.com/dct2notation/dct2notation/internal/retry"
	"github.com/dct2notation/dct2notation/internal/safetext"
	"github.com/dct2notation/dct2notation/internal/transport"
)

// TSA is a time-stamping authority (RFC 3161). It confirms when a signature existed, so that the signature outlives
// its certificate. It is safe for concurrent use.
type TSA struct {
	url     string
	client  *http.Client
	roots   *x509.CertPool
	root    *x509.Certificate
	revoked *revocationOnce
	pace    *pace // nil: nobody has signed yet

	patience time.Duration                                                          // stampPatience, or less in tests
	once     func(context.Context, *tspclient.Request) (*tspclient.Response, error) // stamp, or another in tests
}

// TSAOptions name an authority and its root certificate.
type TSAOptions struct {
	URL      string
	RootCert string       // file with the one root certificate, PEM or DER
	Client   *http.Client // of the one HTTP stack
	// Rate bounds the timestamps requested per second; 0: only the authority's own bound.
	Rate float64
	// OnThrottled is called when the authority throttles or does not answer, like [Options].OnThrottled.
	OnThrottled func(Throttling)
}

const (
	tsaPatience = time.Minute // for one answer, including all waits that the authority asks for
	maxTSAReply = 1 << 20

	hintTSA     = "check --timestamp-url"
	hintTSARoot = "--timestamp-root-cert takes the root certificate that the authority's own certificate leads to"
)

// OpenTSA requests one timestamp of something that is not a signature. Problems with the authority must show before
// key operations are spent on signatures that it does not stamp.
func OpenTSA(ctx context.Context, o TSAOptions) (*TSA, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, failure.WithHint(failure.Denied, fmt.Errorf("time-stamping authority %s: that is no http or https address", transport.RedactText(o.URL)), hintTSA)
	}
	t := &TSA{url: o.URL, client: o.Client, patience: stampPatience}
	t.once = t.stamp
	if t.root, err = readRoot(o.RootCert); err != nil {
		return nil, fileError{failure.WithHint(failure.Denied, err, hintTSARoot)}
	}
	t.roots = x509.NewCertPool()
	t.roots.AddCert(t.root)
	if t.revoked, err = newRevocationOnce(o.Client); err != nil {
		return nil, err
	}
	if err := t.probe(ctx); err != nil {
		return nil, err
	}
	t.pace = newPace(o.Rate, o.OnThrottled)
	return t, nil
}

// probe requests a timestamp of something that is not a signature.
func (t *TSA) probe(ctx context.Context) error {
	request, err := tspclient.NewRequest(tspclient.RequestOptions{Content: []byte("dct2notation asks a time-stamping authority"), HashAlgorithm: crypto.SHA256})
	if err != nil {
		return fmt.Errorf("asking the time-stamping authority: %w", err)
	}
	_, err = t.once(ctx, request)
	return err
}

// ready waits while the authority throttles or does not answer: a signature made meanwhile might never get its
// timestamp, and the key operation would be lost. Now and then one of the waiters requests a timestamp of no
// signature, to see whether that has ended.
func (t *TSA) ready(ctx context.Context) error {
	for began := time.Now(); t.pace.closed(); {
		if time.Since(began) >= t.patience {
			return failure.WithHint(failure.Permanent, fmt.Errorf("time-stamping authority %s: it has throttled, or not answered, for %s; nothing was signed", transport.RedactText(t.url), t.patience), "once the authority answers, run again; --timestamp-rate bounds how often it is asked")
		}
		if d := t.pace.turn(); d > 0 {
			if err := retry.Wait(ctx, d); err != nil {
				return err
			}
			continue
		}
		if err := t.noted(t.probe(ctx)); err != nil && !passes(err) {
			return err
		}
	}
	return ctx.Err()
}

// noted records in the pace how a request ended, and returns the error.
func (t *TSA) noted(err error) error {
	switch {
	case err == nil:
		t.pace.ok()
	case passes(err):
		t.pace.hit()
	}
	return err
}

// passes reports whether to ask the authority again after this error.
func passes(err error) bool {
	class := failure.Of(err)
	return class == failure.Transient || class == failure.Throttled
}

// readRoot reads a file with one root certificate.
func readRoot(file string) (*x509.Certificate, error) {
	certs, err := certfile.Read(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the authority's root certificate: %w", err)
	case len(certs) != 1:
		return nil, fmt.Errorf("reading the authority's root certificate: %s has %d certificates, and one is wanted", file, len(certs))
	case certs[0].CheckSignatureFrom(certs[0]) != nil || !bytes.Equal(certs[0].RawSubject, certs[0].RawIssuer):
		return nil, fmt.Errorf("reading the authority's root certificate: %s is no root", file)
	}
	return certs[0], nil
}

// stamp asks for one timestamp and returns it if everything in it is right. Errors are an [*Error] or ctx's.
func (t *TSA) stamp(ctx context.Context, request *tspclient.Request) (*tspclient.Response, error) {
	limited, cancel := context.WithTimeout(ctx, tsaPatience)
	defer cancel()
	response, err := t.ask(limited, request)
	if err == nil {
		err = t.check(limited, request, response)
	}
	var e *failure.Error
	switch {
	case err == nil:
		return response, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded):
		e = failure.New(failure.Transient, fmt.Errorf("no answer within %s", tsaPatience))
	default:
		e = failure.WithHint(failure.Denied, err, hintTSARoot)
	}
	e.Err = fmt.Errorf("time-stamping authority %s: %w", transport.RedactText(t.url), e.Err)
	return nil, e
}

// ask sends a request. tspclient's own client reduces errors to text.
//
// SPEC (RFC 3161, 3.4): media types of query and reply.
func (t *TSA) ask(ctx context.Context, request *tspclient.Request) (*tspclient.Response, error) {
	query, err := request.MarshalBinary()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(query))
	if err != nil {
		return nil, failure.WithHint(failure.Denied, transport.Redact(err), hintTSA)
	}
	if t.pace != nil {
		r = r.WithContext(transport.OwnPace(ctx))
	}
	r.Header.Set("Content-Type", tspclient.MediaTypeTimestampQuery)
	answer, err := t.client.Do(r)
	if err != nil {
		var busy *transport.ThrottledError
		switch {
		case errors.As(err, &busy):
			return nil, failure.New(failure.Throttled, transport.Redact(err))
		case transport.Transient(err):
			return nil, failure.WithHint(failure.Transient, transport.Redact(err), hintTSA)
		}
		return nil, failure.WithHint(failure.Denied, transport.Redact(err), hintTSA)
	}
	defer func() { _ = answer.Body.Close() }() // only read from
	if class, bad := statusClass(answer.StatusCode); bad {
		return nil, failure.WithHint(class, fmt.Errorf("it answers %s", shown(transport.RedactText(answer.Status))), hintTSA)
	}
	if transport.MediaType(answer.Header) != tspclient.MediaTypeTimestampReply {
		kind := answer.Header.Get("Content-Type")
		return nil, failure.WithHint(failure.Denied, fmt.Errorf("it answers with %s, and not with a timestamp", shown(transport.RedactText(kind))), hintTSA)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxTSAReply+1))
	if err != nil {
		return nil, failure.New(failure.Transient, transport.Redact(err))
	}
	if len(raw) > maxTSAReply {
		return nil, failure.WithHint(failure.Denied, fmt.Errorf("its answer is larger than %d bytes", maxTSAReply), hintTSA)
	}
	var response tspclient.Response
	if err := response.UnmarshalBinary(raw); err != nil {
		return nil, failure.WithHint(failure.Denied, fmt.Errorf("its answer cannot be read: %w", err), hintTSA)
	}
	return &response, nil
}

func statusClass(status int) (failure.Class, bool) {
	switch {
	case status == http.StatusOK:
		return "", false
	case status == http.StatusTooManyRequests:
		return failure.Throttled, true
	case status == http.StatusRequestTimeout || status >= http.StatusInternalServerError:
		return failure.Transient, true
	}
	return failure.Denied, true
}

// check returns an error unless the response is a timestamp of what was requested, by the authority with the
// configured root.
func (t *TSA) check(ctx context.Context, request *tspclient.Request, response *tspclient.Response) error {
	if err := response.Status.Err(); err != nil {
		class := failure.Denied
		for _, passing := range []pki.FailureInfo{pki.FailureInfoTimeNotAvailable, pki.FailureInfoSystemFailure} {
			if response.Status.FailInfo.At(int(passing)) != 0 {
				class = failure.Transient
			}
		}
		return failure.New(class, fmt.Errorf("it gives no timestamp: %s", safetext.Safe(transport.RedactText(err.Error()), 300)))
	}
	if err := response.Validate(request); err != nil {
		return failure.New(failure.Denied, fmt.Errorf("its timestamp is not of what was asked for: %s", safetext.Safe(transport.RedactText(err.Error()), 300)))
	}
	token, err := response.SignedToken()
	if err != nil {
		return err
	}
	chain, err := token.Verify(ctx, x509.VerifyOptions{Roots: t.roots})
	if err != nil {
		return err
	}
	if err := corex509.ValidateTimestampingCertChain(chain); err != nil {
		return err
	}
	return t.revoked.check(ctx, chain)
}

// stamping is the authority for a single signature: notation-go reduces errors to text, so stamping keeps the cause.
type stamping struct {
	tsa   *TSA
	cause error
}

// stampPatience is how long a finished signature waits for its timestamp, and how long a new one waits for the
// authority.
const stampPatience = 10 * time.Minute

// Timestamp implements tspclient.Timestamper. It retries errors that may pass, if necessary for minutes: repeating
// the whole signature would spend another key operation. After that the error is permanent, so that nobody retries
// within this run.
func (s *stamping) Timestamp(ctx context.Context, request *tspclient.Request) (response *tspclient.Response, err error) {
	for began := time.Now(); ; {
		if s.cause = s.tsa.pace.enter(ctx); s.cause != nil {
			return nil, s.cause
		}
		response, err = s.tsa.once(ctx, request)
		s.cause = s.tsa.noted(err)
		if err == nil || !passes(err) {
			return response, err
		}
		if time.Since(began) >= s.tsa.patience {
			var e *failure.Error
			errors.As(err, &e) // its class says that it is one
			s.cause = failure.WithHint(failure.Permanent, fmt.Errorf("%w; asked again for %s", e.Err, s.tsa.patience), "once the authority answers, run again: the signature that waited for it is lost")
			return nil, s.cause
		}
	}
}

// stampedAt returns the latest possible time in an envelope's countersignature, or the zero time. It does not check
// who signed that: the verifier does, by the trust policy.
func stampedAt(token, signature []byte) time.Time {
	if len(token) == 0 {
		return time.Time{}
	}
	parsed, err := tspclient.ParseSignedToken(token)
	if err != nil {
		return time.Time{}
	}
	info, err := parsed.Info()
	if err != nil {
		return time.Time{}
	}
	at, err := info.Validate(signature)
	if err != nil {
		return time.Time{}
	}
	return at.Value.Add(at.Accuracy)
}
