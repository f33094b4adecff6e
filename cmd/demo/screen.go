package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// width is the terminal width, in columns, that all lines fit into.
const width = 100

// screen writes what a person reads. It shortens a command's output and changes nothing else about it. Errors of
// writing to a screen are ignored.
type screen struct {
	out   io.Writer
	acts  int
	shown bool // something was written before the next title
}

func (s *screen) line(text string) {
	s.shown = true
	for _, l := range wrap(text) {
		fmt.Fprintln(s.out, l)
	}
}

// title begins an act.
func (s *screen) title(text string) {
	if s.shown {
		fmt.Fprintln(s.out)
	}
	s.acts++
	head := fmt.Sprintf("== %d. %s ", s.acts, text)
	s.line(head + strings.Repeat("=", max(2, width-len(head))))
}

// say describes what happens outside of a command.
func (s *screen) say(text string) { s.line("# " + text) }

// command shows a command line as one would type it.
func (s *screen) command(args ...string) {
	line := "$"
	for _, a := range pairs(args) {
		if len(line)+len(a) > width-3 {
			s.line(line + ` \`)
			line = "  "
		}
		line += " " + a
	}
	s.line(line)
}

// pairs keeps each flag and its value together.
func pairs(args []string) (out []string) {
	open := false
	for _, a := range args {
		if open && !strings.HasPrefix(a, "-") {
			out[len(out)-1] += " " + a
			open = false
			continue
		}
		open = strings.HasPrefix(a, "-") || a == ">"
		out = append(out, a)
	}
	return out
}

// result shows a command's stdout.
func (s *screen) result(text string) {
	for _, l := range fold(strings.Split(strings.TrimRight(text, "\n"), "\n")) {
		s.line(shorten(l))
	}
}

// story shows a command's stderr. It cuts messages at the margin, since everything important in them is in the result
// too.
func (s *screen) story(text string) {
	for l := range strings.Lines(text) {
		l = shorten(strings.TrimRight(l, "\n"))
		if len(l) > width {
			l = l[:width-3] + "..."
		}
		s.line(l)
	}
}

var sha256Hex = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)

// shorten keeps the first twelve digits of each SHA-256.
func shorten(line string) string { return sha256Hex.ReplaceAllString(line, "$1..") }

// alike is how many lines of a kind are shown before the rest are counted.
const alike = 2

var (
	row    = regexp.MustCompile(`^  (\S+) `)
	remark = regexp.MustCompile(`\[[^\]]+\]|\([a-z][^)]*`)
)

// fold shows the first rows of each kind in a list and counts the others. Rows are of one kind if their first words
// and their remarks in brackets begin alike.
func fold(lines []string) []string {
	var out []string
	var kinds []string
	seen := map[string]int{}
	flush := func() {
		for _, k := range kinds {
			if more := seen[k] - alike; more > 0 {
				out = append(out, fmt.Sprintf("  %s: and %d more", k, more))
			}
		}
		kinds, seen = nil, map[string]int{}
	}
	for _, l := range lines {
		m := row.FindStringSubmatch(l)
		if m == nil {
			if !strings.HasPrefix(l, " ") {
				flush()
			}
			out = append(out, l)
			continue
		}
		k := kind(m[1], l)
		if seen[k]++; seen[k] == 1 {
			kinds = append(kinds, k)
		}
		if seen[k] <= alike {
			out = append(out, l)
		}
	}
	flush()
	return out
}

func kind(first, line string) string {
	k := first
	var remarks []string
	for _, r := range remark.FindAllString(line, -1) {
		r, _, _ = strings.Cut(r, " ")
		if !slices.Contains(remarks, r) {
			remarks = append(remarks, r)
			k += " " + r
		}
	}
	return k
}

// wrap breaks a line between words, and indents its continuation.
func wrap(line string) []string {
	indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " "))+4)
	var out []string
	for len(line) > width {
		at := strings.LastIndexByte(line[:width+1], ' ')
		if at <= len(indent) {
			break // one word that is longer than the line
		}
		out = append(out, line[:at])
		line = indent + strings.TrimLeft(line[at:], " ")
	}
	return append(out, line)
}
