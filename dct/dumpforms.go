package dct

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Commands that export the table in a readable form.
const (
	exportMySQL    = `mysql -B -N notaryserver -e "SELECT gun, role, version, sha256, TO_BASE64(data) FROM tuf_files WHERE deleted_at IS NULL" > dump.tsv`
	exportPostgres = `psql notaryserver -At -F "$(printf '\t')" -c "SELECT gun, role, version, sha256, translate(encode(data, 'base64'), E'\n', '') FROM tuf_files WHERE deleted_at IS NULL" > dump.tsv`
	exportEither   = exportPostgres + ", or " + exportMySQL
)

// A dumpForm is a form that people export the table in but that we do not read: there are better readers for each,
// next to the database that the command queries.
type dumpForm struct {
	marks *regexp.Regexp
	what  string
	hint  string
}

// fileForms are known by the beginning of the file, lineForms by a line that is not a row. They are tried in this
// order.
var (
	fileForms = []dumpForm{
		{regexp.MustCompile(`^PGDMP|(?i)postgresql database dump`), "a database as pg_dump writes it", "load it into a PostgreSQL server, and export the table alone: " + exportPostgres},
		{regexp.MustCompile(`(?i)(mysql|mariadb) dump`), "a database as mysqldump writes it", "load it into a MySQL server, and export the table alone: " + exportMySQL},
		{regexp.MustCompile(`(?im)^INSERT INTO `), "SQL with INSERT INTO", "load it into a server of that kind, and export the table alone: " + exportEither},
		{regexp.MustCompile(`^\s*\[`), "a JSON array", "jq -c '.[]' FILE > dump.json makes a line of each of its objects"},
	}
	lineForms = []dumpForm{
		{regexp.MustCompile(`^(\+-+\+| *gun *\|)`), "a table for people to look at", "export it as rows: " + exportEither},
		{regexp.MustCompile(`^[^\t,|]*\|[^\t,|]*\|`), "separated by |, and not by tabs", "export it with tabs: " + exportPostgres},
		{regexp.MustCompile(`^[^\t,|]*,[^\t,|]*,`), "CSV", "export it with tabs: " + exportEither},
	}
)

// otherForm explains why a line is no row, by what the file begins with or by the line.
func otherForm(head, line string, cause error) error {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(head, mark) {
			return errors.New("it is text in UTF-16\nhint: PowerShell's > writes that: export it in cmd.exe, or with | Out-File -Encoding ascii")
		}
	}
	for _, mark := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd"} {
		if strings.HasPrefix(head, mark) {
			return errors.New("it is compressed\nhint: unpack it first, with gunzip, bunzip2, unxz or unzstd")
		}
	}
	of := func(forms []dumpForm, text string) error {
		for _, f := range forms {
			if f.marks.MatchString(text) {
				return fmt.Errorf("it is %s\nhint: %s", f.what, f.hint)
			}
		}
		return nil
	}
	err := of(fileForms, head)
	if err == nil && !strings.HasPrefix(strings.TrimSpace(line), "{") {
		err = of(lineForms, line)
	}
	if err == nil {
		return cause
	}
	return err
}

// asItIs reports whether a row's data is the metadata itself, which a table cannot hold in one column without
// changing its bytes.
func asItIs(data string) bool { return strings.HasPrefix(strings.TrimLeft(data, `"`), "{") }

// decodeData decodes the data of a row: base64, which MySQL breaks into lines that its batch output writes as \n, or
// PostgreSQL's hexadecimal digits, after \x or, from COPY, \\x.
func decodeData(text []byte) ([]byte, error) {
	if digits, ok := bytes.CutPrefix(bytes.TrimPrefix(text, []byte(`\`)), []byte(`\x`)); ok {
		return hex.AppendDecode(nil, digits)
	} else if digits, ok := bytes.CutPrefix(text, []byte(`\x`)); ok {
		return hex.AppendDecode(nil, digits)
	}
	plain := strings.NewReplacer(`\n`, "", `\/`, "/").Replace(string(text))
	return base64.StdEncoding.DecodeString(plain)
}

var errAsItIs = errors.New("its data is not in base64\nhint: export it with: " + exportEither)
