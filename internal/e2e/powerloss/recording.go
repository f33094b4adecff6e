package powerloss

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// Trace is what strace must trace so that Parse understands its log.
var Trace = []string{"-f", "-y", "-xx", "-s", "4000000", "-e", "trace=pwrite64,fdatasync,fsync,ftruncate,linkat,renameat,write"}

// A Recording is the sequence of what happened to one file.
type Recording struct{ ops []op }

type kind int

const (
	written   kind = iota // data at an offset
	sized                 // the file was given a size
	flushed               // everything before op number covers is on the disk
	named                 // the file got its name
	nameKept              // and its folder was flushed
	announced             // the program wrote a line to its standard output
)

type op struct {
	kind   kind
	offset int64
	data   []byte
	size   int64
	covers int
}

// Len returns the number of moments for which Image has images: before and after each op.
func (r *Recording) Len() int { return len(r.ops) + 1 }

// A call is a system call in strace's log. If others interrupt it, it has two lines there.
type call struct {
	name, args string
	failed     bool
	began      int // the number that the next op would have had when it began
}

// A line is one parsed line of the log.
type line struct {
	thread string
	call
	begins, ends bool
}

// parseLine parses a line. It returns false if the line is not about a call.
func parseLine(text string) (l line, ok bool) {
	l.thread, text, _ = strings.Cut(text, " ")
	text = strings.TrimLeft(text, " ")
	if rest, again := strings.CutPrefix(text, "<... "); again {
		l.name, text, ok = strings.Cut(rest, " resumed>")
	} else {
		l.begins = true
		var begun bool
		l.name, text, ok = strings.Cut(text, "(")
		if l.args, begun = strings.CutSuffix(text, " <unfinished ...>"); begun {
			return l, ok
		}
	}
	end := strings.LastIndex(text, ") ")
	if !ok || end < 0 {
		return l, false
	}
	result, ok := strings.CutPrefix(strings.TrimLeft(text[end+1:], " "), "= ")
	if l.begins {
		l.args = text[:end]
	}
	l.ends, l.failed = true, strings.HasPrefix(result, "-") || strings.HasPrefix(result, "?")
	return l, ok
}

// A parser turns calls into ops. Its names are the file's: the one under which it was created and
// its final one.
type parser struct {
	path    string
	names   map[string]bool
	waiting map[string]call // by thread: begun but not yet resumed
	ops     []op
}

// Parse reads strace's log for the file at path. The file may have been created under another name
// and linked or renamed.
func Parse(log io.Reader, path string) (*Recording, error) {
	var lines []line
	in := bufio.NewReader(log)
	for {
		text, err := in.ReadString('\n')
		if l, ok := parseLine(strings.TrimSuffix(text, "\n")); ok {
			lines = append(lines, l)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the recording: %w", err)
		}
	}
	p := &parser{path: path, names: map[string]bool{path: true}, waiting: map[string]call{}}
	for _, l := range lines {
		if from, to := twoPaths(l.call); to == path {
			p.names[from] = true
		}
	}
	for _, l := range lines {
		if err := p.line(l); err != nil {
			return nil, err
		}
	}
	return &Recording{p.ops}, nil
}

func (p *parser) line(l line) error {
	c := l.call
	c.began = len(p.ops)
	if l.begins {
		if err := p.begin(c); err != nil {
			return err
		}
	} else {
		waiting, ok := p.waiting[l.thread]
		if !ok || waiting.name != c.name {
			return fmt.Errorf("reading the recording: %s resumed, which had not begun", c.name)
		}
		waiting.failed, c = c.failed, waiting
	}
	if !l.ends {
		p.waiting[l.thread] = c
		return nil
	}
	delete(p.waiting, l.thread)
	return p.end(c)
}

// begin records calls that may take effect as soon as they begin, whatever they return.
func (p *parser) begin(c call) error {
	fd, rest, _ := strings.Cut(c.args, ">")
	number, file, _ := strings.Cut(fd, "<")
	rest = strings.TrimPrefix(rest, ", ")
	switch {
	case c.name == "write" && number == "1":
		data, _, err := quoted(rest)
		p.ops = append(p.ops, op{kind: announced, data: data})
		return err
	case c.name == "pwrite64" && p.ours(file):
		data, after, err := quoted(rest)
		if err != nil {
			return err
		}
		numbers := strings.Split(strings.Trim(after, ", "), ", ")
		offset, err := strconv.ParseInt(numbers[len(numbers)-1], 10, 64)
		p.ops = append(p.ops, op{kind: written, data: data, offset: offset})
		return err
	case c.name == "ftruncate" && p.ours(file):
		size, err := strconv.ParseInt(strings.Trim(rest, ", "), 10, 64)
		p.ops = append(p.ops, op{kind: sized, size: size})
		return err
	}
	if _, to := twoPaths(c); to == p.path {
		p.ops = append(p.ops, op{kind: named})
	}
	return nil
}

// end records calls that count only after they have returned.
func (p *parser) end(c call) error {
	if c.failed || c.name != "fsync" && c.name != "fdatasync" {
		return nil
	}
	_, file, _ := strings.Cut(strings.TrimSuffix(c.args, ">"), "<")
	switch {
	case p.ours(file):
		p.ops = append(p.ops, op{kind: flushed, covers: c.began})
	case unhex(file) == filepath.Dir(p.path):
		p.ops = append(p.ops, op{kind: nameKept})
	}
	return nil
}

func (p *parser) ours(file string) bool { return p.names[unhex(file)] }

// twoPaths returns the two paths of a call that renames or links a file.
func twoPaths(c call) (from, to string) {
	if c.name != "linkat" && c.name != "renameat" {
		return "", ""
	}
	parts := strings.Split(c.args, `"`)
	if len(parts) < 5 {
		return "", ""
	}
	return unhex(parts[1]), unhex(parts[3])
}

// quoted splits a quoted string off the front of the arguments.
func quoted(args string) (data []byte, rest string, err error) {
	body, ok := strings.CutPrefix(args, `"`)
	text, rest, closed := strings.Cut(body, `"`)
	if !ok || !closed || strings.HasPrefix(rest, "...") {
		return nil, "", fmt.Errorf("reading the recording: %.40q is no whole string", args)
	}
	return []byte(unhex(text)), rest, nil
}

// unhex decodes strace's \xNN and leaves everything else unchanged.
func unhex(s string) string {
	out := make([]byte, 0, len(s)/4)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) && s[i+1] == 'x' {
			if b, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
