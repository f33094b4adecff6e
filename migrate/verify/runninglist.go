package verify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// A RunningList is what runs somewhere, according to a file.
type RunningList struct {
	Images []RunningImage
	Name   string    // of the file
	SHA256 string    // of its bytes, in hex
	At     time.Time // when it was written
}

// A RunningImage is an image from a list of what runs; it appears once, however many containers run it.
type RunningImage struct {
	Repository string
	Tag        string
	Digest     digest.Digest // the digest that runs; empty: the list does not say
	Asked      digest.Digest // the digest in the reference, if another one runs, such as an image of an index
	Config     digest.Digest // digest of its configuration, if that is all the runtime says
	FromStatus bool          // Digest comes from the runtime
	Invalid    string        // why the reference does not name an image; empty: it does

	Name   string // the reference, in full
	Places []Place
	Count  int // of places; Places are the first of them
}

// A Place is where an image runs: a container of a Pod, or a volume.
type Place struct {
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	As        string `json:"as,omitempty"` // init, ephemeral or volume; empty: a container
}

// Limits of a list of what runs. Its length is not limited: one entry is kept for each image.
const (
	maxRunning = 200_000  // different images, some 250 MiB
	maxPlaces  = 20       // kept for each image
	maxPod     = 16 << 20 // bytes; API servers keep no object of more than 1.5 MiB
	maxLine    = 64 << 10
)

// ReadRunning reads the output of kubectl get pods -A -o json, or lines that are references with a tag or digest
// each. The whole list must have that form: a truncated or empty one is an error.
func ReadRunning(r io.Reader) ([]RunningImage, error) { return readRunning(r, maxRunning) }

func readRunning(r io.Reader, most int) ([]RunningImage, error) {
	l := &runningList{most: most, written: map[string]int{}, known: map[string]int{}}
	in := bufio.NewReaderSize(r, maxLine)
	if mark, err := in.Peek(3); err == nil && bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = in.Discard(len(mark)) // was read
	}
	if mark, err := in.Peek(2); err == nil && (string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff") {
		return nil, errors.New("it is UTF-16, as PowerShell's > writes it\nhint: kubectl get pods -A -o json | Out-File -Encoding utf8 pods.json")
	}
	begin, err := in.Peek(1)
	for err == nil && strings.ContainsRune(" \t\r\n", rune(begin[0])) {
		_, _ = in.Discard(1)
		begin, err = in.Peek(1)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case err == nil && begin[0] == '{':
		err = l.objects(in)
	case err == nil:
		err = l.lines(in)
	default:
		err = nil
	}
	if err == nil && len(l.images) == 0 {
		err = errors.New("it names no image\nhint: kubectl get pods -A -o json writes one, or give a reference on each line")
	}
	return l.images, err
}

// tooManyError is returned for a list that names more different images than are kept.
type tooManyError int

func (most tooManyError) Error() string {
	return fmt.Sprintf("it names more than %d different images\nhint: compare in parts", int(most))
}

type runningList struct {
	most    int // different images
	images  []RunningImage
	written map[string]int // as the list writes them: most entries of a long one name few images
	known   map[string]int // in full
}

// add adds an image that runs somewhere, by its name and what the runtime says; at is nil if the place is unknown.
func (l *runningList) add(name, id string, at *Place) error {
	text := name + "\x00" + id
	i, known := l.written[text]
	if !known {
		image := ran(name, id)
		if at == nil && image.Invalid != "" { // from a Pod, it is what the API server has
			return errors.New(image.Invalid)
		}
		key := strings.Join([]string{image.Name, image.Digest.String(), image.Config.String()}, "\x00")
		if i, known = l.known[key]; !known {
			i = len(l.images)
			l.known[key], l.images = i, append(l.images, image)
		}
		if l.written[text] = i; len(l.written) > l.most {
			return tooManyError(l.most)
		}
	}
	one := &l.images[i]
	if one.Count++; at != nil && len(one.Places) < maxPlaces {
		one.Places = append(one.Places, *at)
	}
	return nil
}

func (l *runningList) lines(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	n := 0
	for in.Scan() {
		n++
		text, _, _ := strings.Cut(in.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		var many tooManyError
		if err := l.add(text, "", nil); errors.As(err, &many) {
			return err
		} else if err != nil {
			return fmt.Errorf("line %d: %s: %w\nhint: a line is a reference with a tag or digest; # begins a comment. For Pods, take kubectl's -o json", n, safetext.Safe(text, 256), err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

// runningImage reads a reference as docker and kubelet do: without tag and digest it is latest.
func runningImage(text string) RunningImage {
	named, err := reference.ParseNormalizedNamed(text)
	if err == nil && reference.Domain(named) == "" {
		err = errors.New("its host is not valid")
	}
	switch {
	case digest.Digest(text).Validate() == nil: // docker would take it for a tag of a repository sha256
		err = errors.New("a digest without a repository")
	case shortID.MatchString(text): // docker ps shows it for an image whose tag was moved, docker run takes it for the ID
		err = errors.New("an image's ID without a repository")
	}
	if err != nil {
		return RunningImage{Name: text, Invalid: safetext.Safe(err.Error(), 300)}
	}
	named = reference.TagNameOnly(named)
	image := RunningImage{Name: named.String(), Repository: named.Name()}
	if tagged, ok := named.(reference.Tagged); ok {
		image.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		image.Digest = digested.Digest()
	}
	return image
}

// bounded is a reader that limits the size of each object.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("an object of more than %d MiB: that is no list of Pods", maxPod>>20)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// objects reads lists of Pods, and Pods, one after the other, as concatenated output of several clusters has them.
func (l *runningList) objects(r io.Reader) error {
	in := &bounded{r: r, left: maxPod}
	dec := json.NewDecoder(in)
	for {
		in.left = maxPod
		switch err := l.object(dec, in); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("it is cut: the JSON does not come to its end")
		case err != nil:
			return err
		}
	}
}

// object reads one object. It returns io.EOF if there is none.
func (l *runningList) object(dec *json.Decoder, in *bounded) error {
	if t, err := dec.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("it is neither a list of Pods nor a Pod\nhint: take kubectl get pods -A -o json")
	}
	var one pod
	listed := false
	for dec.More() {
		in.left = maxPod
		key, err := dec.Token()
		if err != nil {
			return cut(err)
		}
		var skipped json.RawMessage
		to := map[any]any{"kind": &one.Kind, "metadata": &one.Metadata, "spec": &one.Spec, "status": &one.Status}[key]
		switch {
		case key == "items":
			listed = true
			err = l.items(dec, in)
		case to == nil:
			err = dec.Decode(&skipped)
		default:
			err = dec.Decode(to)
		}
		if err != nil {
			return cut(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return cut(err)
	}
	switch {
	case one.Kind == "Pod" && !listed:
		return l.pod(&one)
	case !listed || one.Kind != "List" && one.Kind != "PodList":
		return fmt.Errorf("it is of kind %s: it has to be a list of Pods\nhint: take kubectl get pods -A -o json", safetext.Safe(one.Kind, 64))
	case one.Metadata.Continue != "":
		return errors.New("the list goes on: it is one page of several\nhint: take kubectl get pods -A -o json, which asks for all")
	}
	return nil
}

// cut returns io.ErrUnexpectedEOF for an end within an object: that is not the end of the list.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *runningList) items(dec *json.Decoder, in *bounded) error {
	t, err := dec.Token()
	if err != nil || t == nil { // null: the list is empty
		return err
	}
	if t != json.Delim('[') {
		return errors.New("its items are no list")
	}
	for dec.More() {
		in.left = maxPod
		var one pod
		if err := dec.Decode(&one); err != nil {
			return err
		}
		if one.Kind != "" && one.Kind != "Pod" {
			return fmt.Errorf("it has a %s beside Pods\nhint: take kubectl get pods -A -o json", safetext.Safe(one.Kind, 64))
		}
		if err := l.pod(&one); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// pod is the part of a Pod, or of a list of Pods, that counts here.
type pod struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Continue  string `json:"continue"`
	} `json:"metadata"`
	Spec struct {
		Containers []podContainer `json:"containers"`
		Init       []podContainer `json:"initContainers"`
		Ephemeral  []podContainer `json:"ephemeralContainers"`
		Volumes    []struct {
			Name  string `json:"name"`
			Image *struct {
				Reference string `json:"reference"`
			} `json:"image"`
		} `json:"volumes"`
	} `json:"spec"`
	Status struct {
		Containers []podStatus `json:"containerStatuses"`
		Init       []podStatus `json:"initContainerStatuses"`
		Ephemeral  []podStatus `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type podContainer struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

type podStatus struct {
	Name    string `json:"name"`
	ImageID string `json:"imageID"`
	Mounts  []struct {
		Name   string `json:"name"`
		Status struct {
			Image struct {
				Ref string `json:"imageRef"`
			} `json:"image"`
		} `json:"volumeStatus"`
	} `json:"volumeMounts"`
}

// pod adds the images of a Pod: of containers, init and ephemeral containers, and of volumes. A Pod that has ended
// counts as well: a CronJob starts it again.
func (l *runningList) pod(p *pod) error {
	if len(p.Spec.Containers) == 0 {
		return fmt.Errorf("the Pod %s/%s has no containers: that is no list of Pods\nhint: take kubectl get pods -A -o json", safetext.Safe(p.Metadata.Namespace, 64), safetext.Safe(p.Metadata.Name, 64))
	}
	mounted := map[string]string{} // volumes
	for _, group := range []struct {
		as       string
		all      []podContainer
		statuses []podStatus
	}{{"", p.Spec.Containers, p.Status.Containers}, {"init", p.Spec.Init, p.Status.Init}, {"ephemeral", p.Spec.Ephemeral, p.Status.Ephemeral}} {
		ids := map[string]string{}
		for _, s := range group.statuses {
			ids[s.Name] = s.ImageID
			for _, m := range s.Mounts {
				if m.Status.Image.Ref != "" {
					mounted[m.Name] = m.Status.Image.Ref
				}
			}
		}
		for _, c := range group.all {
			at := &Place{p.Metadata.Namespace, p.Metadata.Name, c.Name, group.as}
			if err := l.add(c.Image, ids[c.Name], at); err != nil {
				return err
			}
		}
	}
	for _, v := range p.Spec.Volumes {
		if v.Image == nil || v.Image.Reference == "" { // a template still has to fill it in
			continue
		}
		at := &Place{p.Metadata.Namespace, p.Metadata.Name, v.Name, "volume"}
		if err := l.add(v.Image.Reference, mounted[v.Name], at); err != nil {
			return err
		}
	}
	return nil
}

// ran returns the image of a reference, as the runtime has it: the tag may have been moved since. The runtime may
// name another repository with the same bytes; the requested image is in this one.
func ran(name, id string) RunningImage {
	image := runningImage(name)
	runs, config := runtimeImage(id)
	switch {
	case runs != "":
		if image.Digest != runs {
			image.Asked = image.Digest
		}
		image.Digest, image.FromStatus = runs, true
	case image.Digest == "":
		image.Config = config
	}
	return image
}

// shortID is the form of an image's ID in docker's lists.
var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)

var bareID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// runtimeImage reads the imageID of a container's status: a repository with a digest, or the digest of the
// configuration alone, as for an image that was not pulled. Anything else says nothing.
func runtimeImage(id string) (image, config digest.Digest) {
	if _, rest, ok := strings.Cut(id, "://"); ok { // docker-pullable:// or docker://
		id = rest
	}
	_, of, found := strings.Cut(id, "@")
	if found {
		id = of
	} else if bareID.MatchString(id) {
		id = "sha256:" + id
	}
	d := digest.Digest(id)
	switch {
	case d.Validate() != nil:
		return "", ""
	case found:
		return d, ""
	}
	return "", d
}
