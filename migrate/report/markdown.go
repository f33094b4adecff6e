package report

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// maxMarkdown limits how many rows are listed: pages of CI servers and forges are limited to some hundred kilobytes.
const maxMarkdown = 500

// savedMarkdown writes a summary for a merge request or a CI server's page: the verdict,
// the totals, what expires soon, and the rows that somebody has to look at.
func savedMarkdown(w io.Writer, s *Saved, o Options) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# dct2notation %s: %s\n\n", s.Head.Of, s.verdict())
	fmt.Fprintf(out, "%s, %s to %s\n\n", code(s.Head.Tool), date(s.Head.Started), orDash(date(s.End.Ended)))
	if s.Head.Scope != "" {
		fmt.Fprintf(out, "Of: %s\n\n", code(s.Head.Scope))
	}
	if s.End.Error != "" {
		fmt.Fprintf(out, "Ended with: %s\n\n", code(s.End.Error))
	}
	out.WriteString("| class | count |\n| --- | ---: |\n")
	for _, class := range slices.Sorted(maps.Keys(s.End.Totals)) {
		fmt.Fprintf(out, "| %s | %d |\n", code(class), s.End.Totals[class])
	}
	if s.End.Unread > 0 {
		fmt.Fprintf(out, "| trust data not read | %d |\n", s.End.Unread)
	}
	soon, err := s.expiries()
	if err != nil {
		return err
	}
	if len(soon) > 0 {
		out.WriteString("\n## Expires next\n\n| what | repository | date | left |\n| --- | --- | --- | --- |\n")
		for _, e := range soon[:min(len(soon), 20)] {
			fmt.Fprintf(out, "| %s | %s | %s | %s |\n", code(e.What), code(e.Repository), date(e.At), timeLeft(e.At, o.Now))
		}
	}
	if err := s.markdownRows(out); err != nil {
		return err
	}
	if s.Ready != nil {
		s.Ready.markdown(out)
	}
	return out.Flush()
}

// markdownRows lists what is not well, worst first.
func (s *Saved) markdownRows(out *bufio.Writer) error {
	all := s.notWell()
	if all == 0 {
		return nil
	}
	out.WriteString("\n## To look at\n\n| standing | class | image | reason |\n| --- | --- | --- | --- |\n")
	worst, err := s.worst(maxMarkdown)
	for _, t := range worst {
		image := strings.TrimSpace(t.repository + " " + t.name)
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", t.standing, code(t.class), code(image), code(t.reason))
	}
	if all > maxMarkdown {
		fmt.Fprintf(out, "\nand %d more: the formats csv, jsonl and html have all of them\n", all-maxMarkdown)
	}
	return err
}

// verdict returns in a few words how a result ended.
func (s *Saved) verdict() string {
	if s.Head.Shard != "" {
		return "shard " + safetext.Safe(s.Head.Shard, 32) + ": " + s.judgement()
	}
	return s.judgement()
}

func (s *Saved) judgement() string {
	switch {
	case s.Ready != nil && (s.End.Complete || s.rest() == Aside):
		return s.Ready.verdict()
	case s.rest() == Aside && s.Head.Of == OfRun:
		return "not complete: what was selected is done, which is not everything"
	case s.rest() == Aside && s.Counts[Problem]+s.Counts[Unclear] == 0:
		return "the signature sets agree on what was compared, which is not everything"
	case s.rest() == Aside && s.Counts[Problem] > 0:
		return "the signature sets disagree"
	case s.End.Well && s.Head.Of == OfVerify:
		return "the signature sets agree"
	case s.End.Well:
		return "complete"
	case !s.End.Complete:
		return "did not finish"
	case s.Head.Of == OfRun:
		return "not complete"
	case s.Counts[Problem] == 0:
		return "not everything could be checked"
	}
	return "the signature sets disagree"
}

// spanEnds escapes what would end a code span or the table cell around it, and what the templates of page generators
// would interpret there. The escapes are like safetext's.
var spanEnds = strings.NewReplacer("`", `\x60`, "|", `\x7c`, "{{", `\x7b\x7b`, "{%", `\x7b%`)

// code shows text literally: in a code span nothing is markup, a link or a mention.
func code(s string) string {
	if s == "" {
		return ""
	}
	s = inLine(s)
	return "`" + spanEnds.Replace(s) + "`"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }
