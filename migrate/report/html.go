package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// The page's own texts. Nothing in them is made from data.
//
//go:embed page
var pageFiles embed.FS

// pageScripts are concatenated into one script, in this order.
var pageScripts = []string{"data.js", "filter.js", "table.js", "details.js", "main.js"}

// pageTemplate escapes all its data according to the context.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"count": thousands}).ParseFS(pageFiles, "page/*.html"))

// savedHTML writes one self-contained page: the verdict, totals and charts, then all rows in a table that a script
// shows. The worst rows are also listed without the script, and on paper. Only pageTemplate and the encoder of the
// rows write data into it.
func savedHTML(w io.Writer, s *Saved, o Options) error {
	p, err := newPage(s, o)
	if err != nil {
		return err
	}
	style, script := pageText("page.css"), pageText(pageScripts...)
	p.Policy = policy(style, script)
	out := bufio.NewWriterSize(w, 64<<10)
	err = pageTemplate.ExecuteTemplate(out, "head.html", p)
	if err == nil {
		// Not through the template, which would change the text that the policy's hash is over.
		_, err = fmt.Fprintf(out, "<style>%s</style>\n</head>\n", style)
	}
	if err == nil {
		err = pageTemplate.ExecuteTemplate(out, "body.html", p)
	}
	if err == nil {
		_, err = io.WriteString(out, `<script type="application/json" id="data">`)
	}
	if err == nil {
		err = s.writeData(out, p.columns, o.Now)
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "</script>\n<script type=\"module\">%s</script>\n</body>\n</html>\n", script)
	}
	return cmp.Or(err, out.Flush())
}

// pageText returns the text of files of the page. Browsers read CRLF, which a checkout may have produced, as LF, and
// hash that.
func pageText(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		raw, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		b.WriteString(strings.ReplaceAll(string(raw), "\r\n", "\n"))
	}
	return b.String()
}

// policy allows the page's own style and script and nothing else: no request, no other script wherever it comes from,
// no text that becomes markup.
func policy(style, script string) string {
	return "default-src 'none'; style-src " + sourceHash(style) + "; script-src " + sourceHash(script) +
		"; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// thousands formats a count with thousands separators.
func thousands(n int) string {
	s := itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
