package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// credentialHelper is docker-credential-keeper. It records its command line in helper.log, and
// fails if the file helper-fails exists.
func credentialHelper() {
	work := os.Getenv("WORK")
	server, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = os.WriteFile(filepath.Join(work, "helper.log"), fmt.Appendf(nil, "%q for %s\n", os.Args, server), 0o600)
	}
	if _, fails := os.Stat(filepath.Join(work, "helper-fails")); fails == nil || err != nil {
		fmt.Println("cannot unlock " + password) // the protocol has errors on stdout; like docker, we pass its stderr through
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"ServerURL": string(server), "Username": user, "Secret": password})
}

// login HOW stores credentials where docker login does: auth (in the file), helper, or token (an
// identity token). Wrong ones are refused.
func login(_ *testscript.TestScript, f *fixture, args []string) error {
	auth := func(secret string) map[string]any {
		return map[string]any{"auths": map[string]any{f.registry.Host(): map[string]string{
			"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)),
		}}}
	}
	config, ok := map[string]map[string]any{
		"auth":   auth(password),
		"wrong":  auth("wrong-" + password + "-+/@:"),
		"helper": {"credHelpers": map[string]string{f.registry.Host(): "keeper"}},
		"token": {"auths": map[string]any{f.registry.Host(): map[string]string{
			"auth": base64.StdEncoding.EncodeToString([]byte("<token>:")), "identitytoken": password,
		}}},
	}[args[0]]
	if !ok {
		return fmt.Errorf("unknown way to log in: %s", args[0])
	}
	return f.writeJSON("docker/config.json", config)
}

// echo notary|registry|tsa STATUS [PATH] makes a server refuse requests, everywhere or where the
// path contains PATH, and repeat what the client sent in every part of its answer.
func echo(_ *testscript.TestScript, f *fixture, args []string) error {
	where, status := "", 0
	if _, err := fmt.Sscan(args[1], &status); err != nil {
		return err
	}
	if len(args) > 2 {
		where = args[2]
	}
	hit := func(w http.ResponseWriter, r *http.Request) bool {
		// Without credentials there is nothing to repeat, so let the server ask for them.
		sent := r.Header.Get("Authorization") != "" || r.Method == http.MethodPost
		if !sent || !strings.Contains(r.URL.Path, where) {
			return false
		}
		repeat(w, r, status)
		return true
	}
	switch args[0] {
	case "notary":
		f.notary.SetHook(hit)
	case "registry":
		f.registry.SetHook(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool { return hit(w, r) })
	default:
		return fmt.Errorf("unknown server %s", args[0])
	}
	return nil
}

// repeat answers with everything that was sent, both as sent and decoded.
func repeat(w http.ResponseWriter, r *http.Request, status int) {
	name, secret, _ := r.BasicAuth()
	_ = r.ParseForm()
	said := fmt.Sprintf("you are %s with %s, from %q, and sent %s and %s", name, secret, r.Header.Get("Authorization"), r.URL, r.Form.Encode())
	if status/100 == 3 {
		w.Header().Set("Location", "https://elsewhere.example.com/?token="+url.QueryEscape(said))
	}
	body, _ := json.Marshal(map[string]any{"errors": []map[string]any{{"code": "DENIED", "message": said, "detail": said}}})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// presigned makes the registry return upload addresses that are credentials, as object stores do,
// and then refuse them.
func presigned(_ *testscript.TestScript, f *fixture, _ []string) error {
	f.registry.SetHook(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		switch {
		case !strings.Contains(r.URL.Path, "/blobs/uploads/"):
			return false
		case r.Method == http.MethodPut:
			repeat(w, r, http.StatusBadRequest)
			return true
		}
		r.URL.RawQuery, r.Body = "", http.NoBody // such a registry does not accept an upload in one request
		next.ServeHTTP(signing{w}, r)
		return true
	})
	return nil
}

// signing signs the upload addresses in an answer.
type signing struct{ http.ResponseWriter }

func (s signing) WriteHeader(status int) {
	if to := s.Header().Get("Location"); to != "" {
		s.Header().Set("Location", to+"?X-Amz-Signature=canary-presigned")
	}
	s.ResponseWriter.WriteHeader(status)
}

// nosecrets NAME... checks that there is no secret in files, in everything below directories, or in
// stdout and stderr of the last command: no canary as it is, in base64 or escaped, and no private
// key. What is to be searched must exist.
func noSecrets(ts *testscript.TestScript, f *fixture, args []string) error {
	secrets, err := f.secrets()
	if err != nil {
		return err
	}
	search := func(name string, content []byte) error {
		for _, secret := range secrets {
			if i := bytes.Index(content, []byte(secret)); i >= 0 {
				return fmt.Errorf("%s holds a secret: ...%q", name, content[max(0, i-100):min(len(content), i+100)])
			}
		}
		return nil
	}
	for _, name := range args {
		if name == "stdout" || name == "stderr" {
			if err := search(name, []byte(ts.ReadFile(name))); err != nil {
				return err
			}
			continue
		}
		err := filepath.WalkDir(filepath.Join(f.dir, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return search(path, content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// secrets returns what no output may contain.
func (f *fixture) secrets() ([]string, error) {
	secrets := []string{"canary", "c%61nary"}
	for shift := range 3 { // its position in the triples of base64
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + "canary"))
		secrets = append(secrets, text[(shift*8+5)/6:(shift*8+48)/6])
	}
	keys, err := filepath.Glob(filepath.Join(f.dir, "*.key"))
	if err != nil || len(keys) == 0 {
		return nil, fmt.Errorf("no private keys: %w", err)
	}
	for _, path := range keys {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(content)
		if block == nil {
			return nil, fmt.Errorf("%s is no key", path)
		}
		inner := block.Bytes[len(block.Bytes)/3 : len(block.Bytes)/3+21]
		secrets = append(secrets, string(inner), strings.Split(string(content), "\n")[1])
	}
	return secrets, nil
}
