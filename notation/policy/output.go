package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A File is one file of an output. Its name is relative, with slashes.
type File struct {
	Name    string
	Content []byte
}

// A Loss is a guarantee of Docker Content Trust that a consumer does not give.
type Loss struct {
	Guarantee string `json:"guarantee"`
	Instead   string `json:"instead"` // compensation
}

// An Output is the output for a consumer.
type Output struct {
	Consumer Consumer
	Files    []File // the first begins with Lost and everything to do
	Lost     []Loss
	Warnings []string // what a person must know before applying it
}

// guide is the comment that an output begins with.
type guide struct {
	title    string
	about    []string // paragraphs
	apply    []string // commands
	negative []string // what to do, and the required result
	next     []string
}

const lineWidth = 98

// text formats the guide without comment marks.
func (g guide) text(t Trust, o *Output) string {
	var b strings.Builder
	paragraph := func(s string) { b.WriteString(wrap(s, "", "")) }
	paragraph(g.title + " Stage: " + string(t.Stage) + ".")
	b.WriteString("\nGuarantees of Docker Content Trust that are lost here, and what makes up for them:\n\n")
	for _, l := range o.Lost {
		b.WriteString(wrap(l.Guarantee+".", "- ", "  ") + wrap("Instead: "+l.Instead+".", "  ", "  "))
	}
	if len(o.Warnings) > 0 {
		b.WriteString("\nWarnings:\n\n")
		for _, w := range o.Warnings {
			b.WriteString(wrap(w+".", "- ", "  "))
		}
	}
	b.WriteString("\nWhose signatures are good:\n\n")
	for _, s := range t.Statements {
		b.WriteString(wrap(fmt.Sprintf("%s, %s: any one signature by", s.Name, safetext.Count(len(s.Repositories), "repository")), "- ", "  "))
		for _, k := range s.Keys {
			if k.renews() {
				fmt.Fprintf(&b, "    key %s, whatever certificate it has\n      %s\n", k.shown(), k.Identity.Title())
			} else {
				fmt.Fprintf(&b, "    key %s\n      certificate %s\n      SHA-256 %s\n", k.shown(), subject(k.Leaf()), Thumbprint(k.Leaf()))
			}
			if k.renews() || k.Anchor() != k.Leaf() {
				fmt.Fprintf(&b, "      issued under %s\n      SHA-256 %s\n", subject(k.Anchor()), Thumbprint(k.Anchor()))
			}
		}
	}
	for _, s := range append(append([]string(nil), g.about...), t.Notes...) {
		b.WriteString("\n")
		paragraph(safetext.Safe(s, 2000))
	}
	for _, part := range []struct {
		head  string
		lines []string
	}{{"Apply:", g.apply}, {"Prove it: a migrated image must pass (" + t.sample() + "@sha256:...), and these must not:", g.negative}, {"Then:", g.next}} {
		if len(part.lines) == 0 {
			continue
		}
		b.WriteString("\n" + part.head + "\n\n")
		for _, l := range part.lines {
			b.WriteString("    " + l + "\n")
		}
	}
	return b.String()
}

// comment makes a comment from a text: every line begins with the mark.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("# "+strings.TrimRight(line, "\n"), " ") + "\n")
	}
	return b.String()
}

// wrap breaks a text into lines.
func wrap(s, first, rest string) string {
	var b strings.Builder
	line, indent := first, rest
	empty := true
	for _, word := range strings.Fields(s) {
		if !empty && len(line)+1+len(word) > lineWidth {
			b.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
	return b.String()
}

// maxObject is about the largest object that Kubernetes stores: a Secret's limit.
const maxObject = 1 << 20

// object is a Kubernetes object, or a part of one.
type object = map[string]any

// manifest writes objects as one YAML file with a comment in front. The encoder escapes the objects' content.
func (o *Output) manifest(head string, objects ...object) ([]byte, error) {
	var b strings.Builder
	b.WriteString(head)
	for i, one := range objects {
		raw, err := yaml.Marshal(one)
		if err != nil {
			return nil, fmt.Errorf("writing YAML: %w", err)
		}
		if len(raw) > maxObject {
			return nil, &Refusal{Consumer: o.Consumer.Name, Reason: fmt.Sprintf("an object of %d bytes is more than Kubernetes stores (%d)", len(raw), maxObject),
				Hint: "name the repositories that this cluster uses, in place of all; two clusters need not have the same policy"}
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(raw)
	}
	return []byte(b.String()), nil
}

// maxApplied is the largest object for kubectl apply. It keeps the last one in an annotation, and all annotations
// together have 262,144 bytes.
const maxApplied = 250_000

// applying returns the command that applies a file with these objects.
func applying(file string, objects ...object) string {
	for _, o := range objects {
		if raw, err := json.Marshal(o); err != nil || len(raw) > maxApplied {
			return "kubectl apply --server-side --force-conflicts -f " + file
		}
	}
	return "kubectl apply -f " + file
}

// again returns the command that writes the next stage.
func (t Trust) again(o *Output, directory string) []string {
	if t.Stage == Enforce {
		return []string{"keep the test as a check that runs: it tells when somebody switches this off"}
	}
	return []string{
		"when nothing but the images of the test is reported any more:",
		"dct2notation policy " + o.Consumer.Name + " --stage enforce --force -O " + directory + "   # with the other arguments as before",
	}
}

// sample returns a repository to try things with.
func (t Trust) sample() string { return t.Statements[0].Repositories[0] }

// unsigned returns the commands that make an unsigned image. They do not use docker, which would sign what it pushes
// while content trust is still on.
func (t Trust) unsigned() []string {
	return []string{
		"DOCKER_CONTENT_TRUST=0 docker pull busybox && docker tag busybox " + t.sample() + ":dct2notation-unsigned",
		"DOCKER_CONTENT_TRUST=0 docker push " + t.sample() + ":dct2notation-unsigned   # remove it afterwards",
	}
}

// foreign returns the commands that make an image signed by a stranger: a consumer that denies only unsigned images
// may still trust anybody's. The stranger's key and certificate stay in their own folder, where no verifier trusts
// them.
func (t Trust) foreign() []string {
	image := t.sample() + ":dct2notation-foreign"
	return []string{
		"DOCKER_CONTENT_TRUST=0 docker pull busybox:musl && docker tag busybox:musl " + image,
		"DOCKER_CONTENT_TRUST=0 docker push " + image + "   # remove it afterwards, and its signature",
		"stranger=$(mktemp -d) && NOTATION_CONFIG=$stranger notation cert generate-test stranger",
		"NOTATION_CONFIG=$stranger notation sign --key stranger " + image + " && rm -r \"$stranger\"",
	}
}

// negatives returns the commands that make both images, and what to do with each. test gets the image, and whether it
// is the foreign one.
func (t Trust) negatives(test func(image string, foreign bool) string) []string {
	return append(append(t.unsigned(), t.foreign()...),
		test(t.sample()+":dct2notation-unsigned", false), test(t.sample()+":dct2notation-foreign", true))
}

// pods returns the commands that request both images from the cluster.
func (t Trust) pods(outcome string) []string {
	lines := t.negatives(func(image string, foreign bool) string {
		name := "unsigned"
		if foreign {
			name = "foreign"
		}
		return "kubectl -n " + t.Namespace + " run " + name + " --image=" + image + "   # " + outcome
	})
	return append(lines, "kubectl -n "+t.Namespace+" delete pod unsigned foreign --ignore-not-found   # afterwards")
}
