package notarytest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/validation"
)

// A refusal is a publication that was turned down before its content was looked at.
type refusal struct {
	code  errorCode
	cause error
}

func (r *refusal) Error() string { return r.cause.Error() }
func (r *refusal) Unwrap() error { return r.cause }

// servePublish answers a POST of files.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request, gun string) {
	files, err := readUpload(r)
	if err == nil {
		err = s.publish(gun, files)
	}
	var refused *refusal
	switch {
	case err == nil: // 200 with an empty body
	case errors.As(err, &refused):
		refuse(w, http.StatusBadRequest, refused.code, refused.Error())
	case errors.Is(err, errOldVersion):
		refuse(w, http.StatusBadRequest, codeVersion, err.Error())
	default:
		refuse(w, http.StatusBadRequest, codeUpdate, serializable(err))
	}
}

// serializable writes a reason such that notary's client recovers its type, nil if it cannot.
func serializable(err error) any {
	detail, cause := validation.NewSerializableError(err)
	if cause != nil {
		return nil
	}
	return detail
}

// readUpload collects the parts of a form by role.
func readUpload(r *http.Request) (map[string][]byte, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, &refusal{codeUpload, err}
	}
	files := make(map[string][]byte)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, &refusal{codeUpload, err}
		}
		// Not part.FileName: since Go 1.17 it drops the path, and targets/releases would
		// become releases. That is why notary-server built with a newer Go refuses
		// all delegations.
		_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil {
			return nil, &refusal{codeUpload, err}
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			return nil, &refusal{codeUpload, err}
		}
		files[strings.TrimSuffix(parameters["filename"], ".json")] = raw
	}
}

// publish verifies files by role and stores them with a new snapshot and timestamp, all or
// nothing. Errors are refusals, errOldVersion, or notary's validation errors.
func (s *Server) publish(gun string, files map[string][]byte) error {
	uploads := make(map[data.RoleName]file, len(files))
	for role, raw := range files {
		if !data.ValidRole(data.RoleName(role)) {
			return &refusal{codeRole, fmt.Errorf("%q is no role", role)}
		}
		version, err := versionOf(raw)
		if err != nil {
			return &refusal{codeJSON, err}
		}
		uploads[data.RoleName(role)] = file{role: role, version: version, raw: raw}
	}
	accepted, err := s.accept(gun, uploads)
	if err != nil {
		return err
	}
	return s.shelf.add(gun, true, accepted...)
}

// versionOf reads the version that a file claims. A file without a signed part is refused here,
// because notary's builder panics on it.
func versionOf(raw []byte) (int, error) {
	var outer data.Signed
	if err := json.Unmarshal(raw, &outer); err != nil {
		return 0, err
	}
	if outer.Signed == nil {
		return 0, errors.New("no signed part")
	}
	var common data.SignedCommon
	if err := json.Unmarshal(*outer.Signed, &common); err != nil {
		return 0, err
	}
	return common.Version, nil
}
