package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/dct2notation/dct2notation/internal/e2e/powerloss"
	"github.com/dct2notation/dct2notation/state"
)

// replaying judges images of one recording. It prints a line for each, so that its caller knows
// which one ended the process.
type replaying struct {
	log, dir           string
	seed               uint64
	images, from, step int
}

// Verdicts on an image. Anything else is a broken promise.
const (
	verdictGood   = "good"
	verdictAbsent = "absent" // no file yet, and nothing acknowledged
)

func (r replaying) replay(path string) error {
	debug.SetPanicOnFault(true)
	log, err := os.Open(r.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // it was only read
	recording, err := powerloss.Parse(log, path)
	if err != nil {
		return err
	}
	end, err := read(path)
	if err != nil {
		return fmt.Errorf("the file that was recorded: %w", err)
	}
	image := filepath.Join(r.dir, "ledger.db")
	for n := r.from; n < r.images; n += r.step {
		fmt.Println(n, r.one(recording, n, image, end.events))
	}
	return nil
}

// one judges image number n. The images are spread over all moments. The first of a moment has lost
// everything that was not flushed.
func (r replaying) one(recording *powerloss.Recording, n int, path string, all []state.Event) string {
	moment := int(int64(n) * int64(recording.Len()) / int64(r.images))
	before := int(int64(n-1) * int64(recording.Len()) / int64(r.images))
	how := powerloss.Lost
	if n > 0 && before == moment {
		how = []powerloss.How{powerloss.Torn, powerloss.Torn, powerloss.Garbled}[n%3]
	}
	image := recording.Image(moment, how, rand.New(rand.NewPCG(r.seed, uint64(n))))
	acked, err := readAcks(bytes.NewReader(image.Said))
	if err == nil {
		err = image.Write(path)
	}
	switch {
	case err != nil:
	case !image.Exists && len(acked) == 0:
		return verdictAbsent
	case !image.Exists:
		err = errors.New("there is no ledger")
	default:
		err = judgeImage(path, acked, all)
	}
	if err != nil {
		return fmt.Sprintf("moment %d, %d items acknowledged: %.300q", moment, len(acked), err.Error())
	}
	return verdictGood
}

// judgeImage is judge for a file whose later history is known: its history must be a prefix of
// that.
func judgeImage(path string, acked map[int]int, all []state.Event) error {
	at, err := read(path)
	if err != nil {
		return err
	}
	if len(at.events) > len(all) || !slices.EqualFunc(at.events, all[:len(at.events)], func(a, b state.Event) bool { return reflect.DeepEqual(a, b) }) {
		return fmt.Errorf("the %d events are not the first of those that were recorded", len(at.events))
	}
	return at.matches(acked)
}
