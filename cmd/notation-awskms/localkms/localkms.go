// Package localkms serves AWS KMS on 127.0.0.1 for tests. Keys on P-256 are served by local-kms, an emulator of AWS
// KMS; RSA and other keys by a stand-in, since the RSASSA-PSS signatures of local-kms have a salt that is not that of
// AWS (nor Notation's). A handler before both counts, throttles and refuses requests.
package localkms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/nsmithuk/local-kms/src"
	"github.com/nsmithuk/local-kms/src/config"
	"github.com/nsmithuk/local-kms/src/data"

	"github.com/dct2notation/dct2notation/internal/testing/pki"
)

const (
	region  = "eu-west-1"
	account = "111122223333"
)

// A Server is a running KMS. It is safe for concurrent use.
type Server struct {
	http     *httptest.Server
	database *data.Database

	mu     sync.Mutex
	hook   func(Request) (code string) // guarded by mu, as is everything below
	counts map[string]int
	keys   map[string]crypto.Signer // of the stand-in, by ARN
}

// A Request is a request to KMS, before it is answered.
type Request struct {
	Action string // such as Sign
	Nth    int    // of this action, from 1
	Body   map[string]any
}

// setup applies to the whole process: local-kms keeps these settings in variables.
var setup = sync.OnceFunc(func() { config.AWSRegion, config.AWSAccountId = region, account })

// Start serves KMS with its keys in the given folder.
func Start(dir string) *Server {
	setup()
	s := &Server{database: data.NewDatabase(dir), counts: map[string]int{}, keys: map[string]crypto.Signer{}}
	s.http = httptest.NewServer(s)
	return s
}

// Close ends the server.
func (s *Server) Close() {
	s.http.Close()
	s.database.Close()
}

// Env returns the environment of a program that uses this server and nothing else of AWS.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.http.URL, "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=" + Secret,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent",
	}
}

// Secret is the secret key in Env: it must never be shown.
const Secret = "do-not-show-this-secret"

// Hook makes f see every request before it is answered. A non-empty code is returned to the client as the error. f
// must not call the server.
func (s *Server) Hook(f func(Request) (code string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// Count returns how many requests of an action were answered without an error of the hook.
func (s *Server) Count(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[action]
}

// CreateKey makes a signing key and returns its ARN and public part.
func (s *Server) CreateKey(a pki.Algorithm) (arn string, public crypto.PublicKey, err error) {
	if a != pki.EC256 {
		key, err := pki.NewKey("localkms", a)
		if err != nil {
			return "", nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		arn = fmt.Sprintf("arn:aws:kms:%s:%s:key/standin-%d", region, account, len(s.keys))
		s.keys[arn] = key
		return arn, key.Public(), nil
	}
	var created struct{ KeyMetadata struct{ Arn string } }
	if err := s.ask("CreateKey", map[string]string{"CustomerMasterKeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}, &created); err != nil {
		return "", nil, err
	}
	var got struct{ PublicKey []byte }
	if err := s.ask("GetPublicKey", map[string]string{"KeyId": created.KeyMetadata.Arn}, &got); err != nil {
		return "", nil, err
	}
	public, err = x509.ParsePKIXPublicKey(got.PublicKey)
	return created.KeyMetadata.Arn, public, err
}

// Do performs any other action of local-kms, such as CreateAlias or DisableKey.
func (s *Server) Do(action string, input map[string]string) error { return s.ask(action, input, nil) }

// ask calls local-kms itself, bypassing the hook and the counts.
func (s *Server) ask(action string, input map[string]string, into any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+action)
	w := httptest.NewRecorder()
	src.HandleRequest(w, r, s.database)
	if w.Code != http.StatusOK {
		return fmt.Errorf("asking local-kms for %s: %s", action, w.Body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(w.Body.Bytes(), into)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	request := Request{Action: action}
	if err == nil {
		err = json.Unmarshal(raw, &request.Body)
	}
	if err != nil {
		refuse(w, "SerializationException")
		return
	}
	id, _ := request.Body["KeyId"].(string)
	s.mu.Lock()
	request.Nth = s.counts[action] + s.counts["refused "+action] + 1
	code := ""
	if s.hook != nil {
		code = s.hook(request)
	}
	if code == "" {
		s.counts[action]++
	} else {
		s.counts["refused "+action]++
	}
	key := s.keys[id]
	s.mu.Unlock()
	switch {
	case code != "":
		refuse(w, code)
	case key != nil:
		standIn(w, action, id, key, raw)
	default:
		r.Body = io.NopCloser(bytes.NewReader(raw))
		src.HandleRequest(w, r, s.database)
	}
}

func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":%q,"message":"as the test wants it, account 115033223333"}`, code)
}

// standIn signs as AWS documents it: the salt is as long as the digest.
func standIn(w http.ResponseWriter, action, id string, key crypto.Signer, raw []byte) {
	answer := map[string]any{"KeyId": id, "KeyUsage": "SIGN_VERIFY"}
	var err error
	switch action {
	case "GetPublicKey":
		answer["PublicKey"], err = x509.MarshalPKIXPublicKey(key.Public())
	case "Sign":
		var in struct {
			Message                       []byte
			MessageType, SigningAlgorithm string
		}
		err = json.Unmarshal(raw, &in)
		hash := map[int]crypto.Hash{32: crypto.SHA256, 48: crypto.SHA384, 64: crypto.SHA512}[len(in.Message)]
		family := "RSASSA_PSS_SHA_"
		var options crypto.SignerOpts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		if _, ok := key.(*ecdsa.PrivateKey); ok {
			family, options = "ECDSA_SHA_", hash
		}
		if err != nil || hash == 0 || in.MessageType != "DIGEST" || in.SigningAlgorithm != fmt.Sprintf("%s%d", family, 8*len(in.Message)) {
			refuse(w, "ValidationException")
			return
		}
		answer["Signature"], err = key.Sign(rand.Reader, in.Message, options)
	default:
		refuse(w, "UnsupportedOperationException")
		return
	}
	if err != nil {
		refuse(w, "KMSInternalException")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(answer)
}
