package powerloss

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
)

const sector = 512

// An Image is what the disk may hold.
type Image struct {
	Exists bool   // the file has its name
	Data   []byte // the first bytes of the file
	Size   int64  // of the file; the rest is zeros
	Said   []byte // what the program had written to its standard output by then
}

// How is what happens to data that was written but not flushed.
type How int

// Ways to lose unflushed data.
const (
	Lost    How = iota // all of it
	Torn               // some of it
	Garbled            // some of it, and some sectors hold nonsense
)

// Image returns one of the possible images after a number of ops.
func (r *Recording) Image(moment int, how How, random *rand.Rand) Image {
	past := r.ops[:moment]
	var image Image
	safe, kept := 0, false
	for _, o := range past {
		switch o.kind {
		case flushed:
			safe = max(safe, o.covers)
		case named:
			image.Exists = true
		case nameKept:
			kept = kept || image.Exists
		case announced:
			image.Said = append(image.Said, o.data...)
		}
	}
	if image.Exists && !kept {
		image.Exists = how != Lost && random.IntN(2) == 0
	}
	for _, o := range past[:safe] {
		image.apply(o)
	}
	if how == Lost {
		return image
	}
	pending := slices.Clone(past[safe:])
	pending = slices.DeleteFunc(pending, func(o op) bool { return o.kind != written && o.kind != sized || random.IntN(3) == 0 })
	random.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })
	for _, o := range pending {
		if o.kind == written && random.IntN(2) == 0 {
			image.tear(o, how, random)
			continue
		}
		image.apply(o)
	}
	return image
}

func (i *Image) apply(o op) {
	switch o.kind {
	case written:
		i.reach(o.offset + int64(len(o.data)))
		copy(i.Data[o.offset:], o.data)
	case sized:
		i.Size = max(i.Size, o.size)
	}
}

// tear writes only some sectors.
func (i *Image) tear(o op, how How, random *rand.Rand) {
	for at := 0; at < len(o.data); at += sector {
		part := o.data[at:min(at+sector, len(o.data))]
		switch n := random.IntN(4); {
		case n == 0 && how == Garbled:
			part = bytes.Clone(part)
			for b := range part {
				part[b] = byte(random.Uint32())
			}
		case n < 2:
			continue
		}
		i.apply(op{kind: written, offset: o.offset + int64(at), data: part})
	}
}

// reach extends data to that offset.
func (i *Image) reach(end int64) {
	if more := end - int64(len(i.Data)); more > 0 {
		i.Data = append(i.Data, make([]byte, more)...)
	}
	i.Size = max(i.Size, end)
}

// Write writes the image to path, replacing what is there.
func (i Image) Write(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !i.Exists {
		return nil
	}
	if err := os.WriteFile(path, i.Data, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, i.Size)
}
