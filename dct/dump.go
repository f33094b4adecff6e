package dct

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/dct2notation/dct2notation/internal/lookup"
	"github.com/dct2notation/dct2notation/internal/safetext"
)

// Dump is an export of a Notary server's table tuf_files as a [Source]: one row per line, either tab-separated (gun,
// role, version, sha256, data in base64 or PostgreSQL's hex) or as JSON objects with these members. OpenDump reads
// the file once and remembers the position of each row's data, so that no metadata stays in memory. It is safe for
// concurrent use.
type Dump struct {
	file dumpFile
	rows map[string]map[string]row // by GUN, then by the name passed to File
	odd  map[string]bool           // names that are not valid for an image
}

// dumpFile is what we need of a dump's file.
type dumpFile interface {
	io.Reader
	io.ReaderAt
	io.Closer
}

// row is the position of one file's data in the dump.
type row struct {
	offset, length int64
	version        int
	sum            string // SHA-256 in hex, as stated in the row
}

// byteOrderMark is written by some editors and consoles at the beginning of a text.
const byteOrderMark = "\ufeff"

// maxLine bounds one line of a dump, in bytes: base64 of the largest file, with room to spare.
const maxLine = 2 * maxTargets

// OpenDump reads a dump. A row of another form is an error: a damaged export must not look like an empty one. A name
// that no image can have is skipped, unless there are no others: the table holds what clients sent.
func OpenDump(path string) (*Dump, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the dump: %w", err)
	}
	d, err := readDump(f)
	if err != nil {
		_ = f.Close() // only read from
		return nil, fmt.Errorf("reading the dump %s: %w", path, err)
	}
	return d, nil
}

func readDump(f dumpFile) (*Dump, error) {
	d := &Dump{file: f, rows: map[string]map[string]row{}, odd: map[string]bool{}}
	return d, d.index()
}

// Close closes the file.
func (d *Dump) Close() error { return d.file.Close() }

// GUNs lists the repositories in the dump, and the names that are not valid for an image, both sorted.
func (d *Dump) GUNs() (guns []GUN, odd []string) {
	for _, name := range slices.Sorted(maps.Keys(d.rows)) {
		if gun, err := ParseGUN(name); err == nil {
			guns = append(guns, gun)
		}
	}
	return guns, slices.Sorted(maps.Keys(d.odd))
}

func (d *Dump) index() error {
	r := bufio.NewReaderSize(d.file, 1<<20)
	begins, err := r.Peek(4 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head := string(begins)
	var offset int64
	if strings.HasPrefix(head, byteOrderMark) {
		offset = int64(len(byteOrderMark))
		if _, err := r.Discard(len(byteOrderMark)); err != nil {
			return err
		}
	}
	for number := 1; ; number++ {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := d.add(strings.TrimRight(line, "\r\n"), offset, number); err != nil {
			return fmt.Errorf("line %d: %w", number, otherForm(head, line, err))
		}
		offset += int64(len(line))
	}
	if len(d.rows) == 0 && len(d.odd) > 0 {
		return fmt.Errorf("no row has a repository's name, such as registry.example.com/team/app: the first column is gun, and it has %s", safetext.Safe(slices.Min(slices.Collect(maps.Keys(d.odd))), 256))
	}
	if len(d.rows) == 0 {
		return errors.New("it has no rows: it takes lines of gun, role, version, sha256, data in base64, separated by tabs, or JSON objects with these members")
	}
	return nil
}

func readLine(r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := r.ReadSlice('\n')
		b.Write(part)
		if b.Len() > maxLine {
			return "", fmt.Errorf("longer than %d bytes", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

// add records one line. data is the last column, so its position follows from its length.
func (d *Dump) add(line string, offset int64, number int) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	parse := parseTabs
	if strings.HasPrefix(strings.TrimSpace(line), "{") {
		parse = parseObject
	}
	name, role, at, err := parse(line)
	if err != nil {
		if number == 1 && strings.HasPrefix(strings.ToLower(line), "gun\t") {
			return nil // the column names
		}
		return err
	}
	at.offset += offset
	gun, err := ParseGUN(name)
	if err != nil || gun.String() != name {
		d.odd[name] = true
		return nil
	}
	if len(at.sum) != 64 || strings.Trim(at.sum, "0123456789abcdef") != "" {
		return fmt.Errorf("sha256 %s is not a SHA-256 digest", safetext.Safe(at.sum, 80))
	}
	return d.note(name, role, at)
}

// note adds the row under every name by which it can be requested.
func (d *Dump) note(gun, role string, at row) error {
	files := d.rows[gun]
	if files == nil {
		files = map[string]row{}
		d.rows[gun] = files
	}
	versioned := fmt.Sprintf("%d.%s", at.version, role)
	if before, ok := files[versioned]; ok && before.sum != at.sum {
		return fmt.Errorf("%s has two files of role %s version %d", safetext.Safe(gun, 256), safetext.Safe(role, 128), at.version)
	}
	files[versioned] = at
	files[role+"."+at.sum] = at
	if newest, ok := files[role]; !ok || at.version > newest.version {
		files[role] = at
	}
	return nil
}

func parseTabs(line string) (gun, role string, at row, err error) {
	parts := strings.Split(line, "\t")
	if len(parts) != 5 && len(parts) > 1 {
		return "", "", row{}, fmt.Errorf("%d columns separated by tabs, and 5 are wanted\nhint: export these alone: %s", len(parts), exportEither)
	}
	if len(parts) != 5 {
		return "", "", row{}, errors.New("no columns separated by tabs")
	}
	if asItIs(parts[4]) {
		return "", "", row{}, errAsItIs
	}
	version, err := strconv.Atoi(parts[2])
	if err != nil {
		return "", "", row{}, fmt.Errorf("version %s is no number", safetext.Safe(parts[2], 40))
	}
	length := int64(len(parts[4]))
	return parts[0], parts[1], row{offset: int64(len(line)) - length, length: length, version: version, sum: parts[3]}, nil
}

// parseObject reads a JSON row. The data stays in the file: its text is located again between the quotes.
func parseObject(line string) (gun, role string, at row, err error) {
	if err := gate([]byte(line)); err != nil {
		return "", "", row{}, err
	}
	var o struct {
		GUN     string          `json:"gun"`
		Role    string          `json:"role"`
		Version int             `json:"version"`
		SHA256  string          `json:"sha256"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		return "", "", row{}, err
	}
	data := string(o.Data)
	// RethinkDB exports binary data as an object of its own.
	var binary struct {
		Data json.RawMessage `json:"data"`
	}
	if strings.HasPrefix(data, "{") && json.Unmarshal(o.Data, &binary) == nil {
		data = string(binary.Data)
	}
	if len(data) < 2 || data[0] != '"' {
		return "", "", row{}, errors.New("data is no text in base64")
	}
	start := strings.LastIndex(line, data)
	return o.GUN, o.Role, row{offset: int64(start + 1), length: int64(len(data) - 2), version: o.Version, sum: o.SHA256}, nil
}

// File implements [Source]. The row's own hash must match its data. The reader checks whether it is the hash that the
// metadata requires.
func (d *Dump) File(ctx context.Context, gun GUN, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at, ok := d.rows[gun.String()][name]
	if !ok {
		return nil, absentFile(lookup.Dump, name)
	}
	fail := func(kind, err error) error {
		return &Error{GUN: gun.String(), Role: roleOf(name), Kind: kind, Err: fmt.Errorf("reading the dump: %w", err)}
	}
	tooLarge := fmt.Errorf("file is larger than %d bytes", limit)
	if at.length/2 > limit/3*4+4 { // twice the text, for line breaks after every 76 digits or fewer
		return nil, fail(ErrRefused, tooLarge)
	}
	text := make([]byte, at.length)
	if _, err := d.file.ReadAt(text, at.offset); err != nil {
		return nil, fail(ErrUnavailable, err)
	}
	raw, err := decodeData(text)
	if err != nil {
		return nil, fail(ErrRefused, err)
	}
	if int64(len(raw)) > limit {
		return nil, fail(ErrRefused, tooLarge)
	}
	if sumOf(raw) != at.sum {
		return nil, fail(ErrRefused, fmt.Errorf("the data of version %d does not have the SHA-256 of its row", at.version))
	}
	return raw, nil
}
