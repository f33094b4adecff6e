package dct

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var (
	vectorBaseOnce sync.Once
	vectorBaseMint *mint
)

// vectorBase is the healthy repository that vectors change copies of. v1 has an old digest in
// targets and a newer one in targets/releases, which also has new.
func vectorBase(t testing.TB) *mint {
	vectorBaseOnce.Do(func() {
		m := newMint(t, "targets/releases", "targets/alice")
		m.list("targets/alice", "v1", "d1")
		m.list("targets/alice", "new", "b1")
		m.list("targets/releases", "new", "b1")
		m.publish("targets/releases", "targets/alice")
		vectorBaseMint = m
	})
	return vectorBaseMint.clone(t)
}

// A script applies the edits of one vector. Documents are edited first, then signed and published.
// Files are edited after that, and whoever holds the server's keys vouches for them. The server's
// answers come last.
type script struct {
	m     *mint
	was   map[string][]mintKey // the healthy repository's
	dirty []string             // roles whose documents were edited
	named map[string]mintKey   // keys that edits name
}

// edits of documents, which are then signed; of files; of what is served.
var (
	docEdits  = map[string]func(s *script, args []string){"set": (*script).set, "delete": (*script).delete, "list": (*script).list, "delegate": (*script).delegate, "declare": (*script).declare, "keys": (*script).keys, "sign": (*script).sign, "expire": (*script).expire}
	fileEdits = map[string]func(s *script, args []string){"text": (*script).text, "file": (*script).file, "swap": (*script).swap, "spoil": (*script).spoil}
	lastEdits = map[string]func(s *script, args []string){"withhold": (*script).withhold, "missing": (*script).missing, "stale": (*script).stale, "http": (*script).http}
)

func apply(t testing.TB, m *mint, edits []string) {
	t.Helper()
	s := &script{m: m, was: maps.Clone(m.keys), named: map[string]mintKey{}}
	done := 0
	round := func(phase map[string]func(*script, []string), fits func(role string) bool) {
		for _, e := range edits {
			words := split(e)
			if edit := phase[words[0]]; edit != nil && fits(words[1]) {
				done++
				edit(s, words[1:])
			}
		}
		if s.dirty != nil {
			s.publish()
		}
	}
	// From the inside out, because each file lists those that were made before it.
	round(docEdits, func(role string) bool { return role != "snapshot" && role != "timestamp" })
	round(docEdits, func(role string) bool { return role == "snapshot" })
	round(docEdits, func(role string) bool { return role == "timestamp" })
	round(fileEdits, func(string) bool { return true })
	round(lastEdits, func(string) bool { return true })
	if done != len(edits) {
		t.Fatalf("edits %q: got %d done, want %d", edits, done, len(edits))
	}
}

// publish signs the edited documents and those that list them.
func (s *script) publish() {
	var roles []string
	for _, role := range s.dirty {
		if role != "snapshot" && role != "timestamp" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	only := s.dirty[0]
	s.dirty = nil
	switch {
	case roles != nil:
		s.m.publish(roles...)
	case only == "snapshot":
		s.m.bump("snapshot")
		s.m.put("snapshot", s.m.sign("snapshot"))
		s.m.vouchForSnapshot()
	default:
		s.m.bump("timestamp")
		s.m.put("timestamp", s.m.sign("timestamp"))
	}
}

// split cuts an edit into words. Quoted words are Go strings; JSON stays as it is.
func split(edit string) []string {
	if strings.HasPrefix(edit, "set ") {
		return strings.SplitN(edit, " ", 4)
	}
	var words []string
	for edit = strings.TrimSpace(edit); edit != ""; edit = strings.TrimSpace(edit) {
		if q, err := strconv.QuotedPrefix(edit); err == nil {
			word, _ := strconv.Unquote(q) // a quoted prefix can be unquoted
			words, edit = append(words, word), edit[len(q):]
			continue
		}
		word, rest, _ := strings.Cut(edit, " ")
		words, edit = append(words, word), rest
	}
	return words
}

// set ROLE POINTER JSON sets a member of the signed part; - at the end of the pointer appends.
func (s *script) set(args []string) {
	var value any
	if err := json.Unmarshal([]byte(args[2]), &value); err != nil {
		s.m.t.Fatalf("setting %s: %v", args[1], err)
	}
	s.member(args[0], args[1], func(in map[string]any, key string) {
		if list, ok := in[key].([]any); ok && strings.HasSuffix(args[1], "/-") {
			in[key] = append(list, value)
			return
		}
		in[key] = value
	})
}

// delete ROLE POINTER.
func (s *script) delete(args []string) {
	s.member(args[0], args[1], func(in map[string]any, key string) { delete(in, key) })
}

// member finds the object with the member that a JSON pointer names. The only list it can pass
// through is delegations.roles, by role name with ~1 for the slash.
func (s *script) member(role, pointer string, edit func(in map[string]any, key string)) {
	s.dirty = append(s.dirty, role)
	path := strings.Split(strings.TrimPrefix(strings.TrimSuffix(pointer, "/-"), "/"), "/")
	var at any = s.m.docs[role]
	for i, p := range path {
		key := strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		if i == len(path)-1 {
			if in, ok := at.(map[string]any); ok {
				edit(in, key)
				return
			}
		}
		switch v := at.(type) {
		case map[string]any:
			at = v[key]
		case []any:
			at = v[slices.IndexFunc(v, func(e any) bool { return e.(map[string]any)["name"] == key })]
		default:
			s.m.t.Fatalf("%s: got no %s, want one", role, pointer)
		}
	}
}

// list ROLE TAG MARK.
func (s *script) list(args []string) {
	s.m.list(args[0], args[1], args[2])
	s.dirty = append(s.dirty, args[0])
}

// delegate ROLE MARK PATH... adds a role with a key of its own, and v1 in it.
func (s *script) delegate(args []string) {
	s.m.assign(args[0], 1, s.key(args[0]))
	paths := []any{}
	for _, p := range args[2:] {
		paths = append(paths, p)
	}
	s.m.entry(args[0])["paths"] = paths
	s.m.list(args[0], "v1", args[1])
	s.dirty = append(s.dirty, parentRole(args[0]), args[0])
}

// declare PARENT ROLE adds a role without a file of its own.
func (s *script) declare(args []string) {
	s.m.declare(args[0], args[1])
	s.dirty = append(s.dirty, args[0])
}

// keys ROLE THRESHOLD NAME... sets who may sign; all of them do.
func (s *script) keys(args []string) {
	n, err := strconv.Atoi(args[1])
	s.m.must(err)
	var keys []mintKey
	for _, name := range args[2:] {
		keys = append(keys, s.key(name))
	}
	s.m.assign(args[0], n, keys...)
	s.dirty = append(s.dirty, parentRole(args[0]), args[0])
}

// sign ROLE NAME... sets who does sign. A role's name stands for its own key.
func (s *script) sign(args []string) {
	var keys []mintKey
	for _, name := range args[1:] {
		keys = append(keys, s.key(name))
	}
	s.m.keys[args[0]] = keys
	s.dirty = append(s.dirty, args[0])
}

// key returns the key with a name. NAME+cert is a certificate for the key NAME, and NAME+cert2
// another.
func (s *script) key(name string) mintKey {
	if _, ok := s.named[name]; !ok {
		bare, kind, isCert := strings.Cut(name, "+")
		switch own := s.was[name]; {
		case isCert && strings.HasPrefix(kind, "cert"):
			s.named[name] = s.m.certFor(s.m.gun, s.key(bare).private)
		case len(own) > 0:
			s.named[name] = own[0]
		default:
			s.named[name] = s.m.key()
		}
	}
	return s.named[name]
}

// expire ROLE.
func (s *script) expire(args []string) {
	s.m.expire(args[0], -1)
	s.dirty = append(s.dirty, args[0])
}

// vouched puts a file and updates snapshot and timestamp to match.
func (s *script) vouched(role string, raw []byte) {
	s.m.put(role, raw)
	switch role {
	case "timestamp":
	case "snapshot":
		s.m.vouchForSnapshot()
	default:
		s.m.vouch(role)
	}
}

// text ROLE OLD NEW replaces text in the file as it is, signatures and all. $VERSION is its
// version.
func (s *script) text(args []string) {
	version := strings.NewReplacer("$VERSION", fmt.Sprint(s.m.version(args[0])))
	was := string(s.m.files[args[0]])
	is := strings.Replace(was, version.Replace(args[1]), version.Replace(args[2]), 1)
	if is == was {
		s.m.t.Fatalf("%s: got no %s in it, want one:\n%s", args[0], args[1], was)
	}
	s.vouched(args[0], []byte(is))
}
