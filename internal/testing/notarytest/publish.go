package notarytest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/validation"
)

// A refusal is a publication that was refused before its content was looked at.
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

// serializable encodes a reason so that notary's client recovers its type; nil if that is not possible.
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
		// Not part.FileName: since Go 1.17 it drops the path, and targets/releases would become releases. That is why
		// a notary-server built with a newer Go refuses all delegations.
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
	return s.store.add(gun, true, accepted...)
}

// versionOf returns the version in a file. It refuses a file without a signed part, because notary's builder panics
// on it.
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

// An acceptance is the verification of one publication: what was uploaded, against what is stored.
type acceptance struct {
	server   *Server
	gun      string
	uploads  map[data.RoleName]file
	builder  tuf.RepoBuilder
	accepted []file
}

// accept verifies uploads and returns them with the matching snapshot and timestamp. It stores nothing.
func (s *Server) accept(gun string, uploads map[data.RoleName]file) ([]file, error) {
	a := &acceptance{
		server:  s,
		gun:     gun,
		uploads: uploads,
		builder: tuf.NewRepoBuilder(data.GUN(gun), s.ownKeys, trustpinning.TrustPinConfig{}),
	}
	// The order is TUF's: each step is verified with keys that the previous one has brought.
	for _, step := range []func() error{a.root, a.targets, a.snapshot, a.timestamp} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return a.accepted, nil
}

// root loads the stored root and verifies the uploaded one with it.
func (a *acceptance) root() error {
	if stored, ok := a.server.store.latest(a.gun, "root"); ok {
		if err := a.builder.Load(data.CanonicalRootRole, stored.Raw, 1, true); err != nil {
			return validation.ErrBadRoot{Msg: err.Error()}
		}
	}
	upload, ok := a.uploads[data.CanonicalRootRole]
	if !ok {
		if !a.builder.IsLoaded(data.CanonicalRootRole) {
			return validation.ErrValidation{Msg: "there is no root, neither stored nor uploaded"}
		}
		return nil
	}
	current := a.builder.GetLoadedVersion(data.CanonicalRootRole)
	if upload.version != current && upload.version != current+1 {
		return validation.ErrBadRoot{Msg: fmt.Sprintf("version %d does not follow %d", upload.version, current)}
	}
	a.builder = a.builder.BootstrapNewBuilder()
	if err := a.builder.Load(data.CanonicalRootRole, upload.raw, current, false); err != nil {
		return validation.ErrBadRoot{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, upload)
	return nil
}

// targets verifies the uploaded targets and delegations, parents first, since a parent may bring
// the keys of its child.
func (a *acceptance) targets() error {
	var roles []data.RoleName
	for role := range a.uploads {
		if role == data.CanonicalTargetsRole || data.IsDelegation(role) {
			roles = append(roles, role)
		}
	}
	slices.SortFunc(roles, func(x, y data.RoleName) int {
		depth := strings.Count(x.String(), "/") - strings.Count(y.String(), "/")
		if depth != 0 {
			return depth
		}
		return strings.Compare(x.String(), y.String())
	})
	for _, role := range roles {
		if err := a.ancestors(role); err != nil {
			return err
		}
		if err := a.builder.Load(role, a.uploads[role].raw, 1, false); err != nil {
			return validation.ErrBadTargets{Msg: err.Error()}
		}
		a.accepted = append(a.accepted, a.uploads[role])
	}
	return nil
}

// ancestors loads those stored files above a role, from targets down, that are not loaded yet. If one is missing, the
// role itself fails later, with a better message.
func (a *acceptance) ancestors(role data.RoleName) error {
	if role == data.CanonicalTargetsRole {
		return nil
	}
	parent := role.Parent()
	if err := a.ancestors(parent); err != nil {
		return err
	}
	stored, ok := a.server.store.latest(a.gun, parent.String())
	if !ok || a.builder.IsLoaded(parent) {
		return nil
	}
	if err := a.builder.Load(parent, stored.Raw, 1, true); err != nil {
		return validation.ErrBadTargets{Msg: err.Error()}
	}
	return nil
}

// snapshot verifies the uploaded snapshot or makes a new one from the stored one.
func (a *acceptance) snapshot() error {
	role := data.CanonicalSnapshotRole
	if upload, ok := a.uploads[role]; ok {
		if err := a.builder.Load(role, upload.raw, 1, false); err != nil {
			return validation.ErrBadSnapshot{Msg: err.Error()}
		}
		a.accepted = append(a.accepted, upload)
		return nil
	}
	var previous *data.SignedSnapshot
	if stored, ok := a.server.store.latest(a.gun, "snapshot"); ok {
		previous = new(data.SignedSnapshot)
		if err := json.Unmarshal(stored.Raw, previous); err != nil {
			return validation.ErrValidation{Msg: err.Error()}
		}
	}
	raw, version, err := a.builder.GenerateSnapshot(previous)
	if err != nil {
		if keysMissing(err) {
			return validation.ErrBadHierarchy{
				Missing: role.String(),
				Msg:     "no snapshot was uploaded and its key is not here",
			}
		}
		return validation.ErrValidation{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, file{role: role.String(), version: version, raw: raw})
	return nil
}

// timestamp makes a new timestamp.
func (a *acceptance) timestamp() error {
	role := data.CanonicalTimestampRole
	var previous *data.SignedTimestamp
	if stored, ok := a.server.store.latest(a.gun, "timestamp"); ok {
		previous = new(data.SignedTimestamp)
		if err := json.Unmarshal(stored.Raw, previous); err != nil {
			return validation.ErrValidation{Msg: err.Error()}
		}
	}
	raw, version, err := a.builder.GenerateTimestamp(previous)
	if err != nil {
		if keysMissing(err) {
			return validation.ErrBadRoot{Msg: "the timestamp key is not here"}
		}
		return validation.ErrValidation{Msg: err.Error()}
	}
	a.accepted = append(a.accepted, file{role: role.String(), version: version, raw: raw})
	return nil
}

// keysMissing reports whether signing failed because keys are missing.
func keysMissing(err error) bool {
	var few signed.ErrInsufficientSignatures
	var none signed.ErrNoKeys
	var threshold signed.ErrRoleThreshold
	return errors.As(err, &few) || errors.As(err, &none) || errors.As(err, &threshold)
}
