//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// loop signs with what people use today: the notation command, once for each image, so
// many at a time. force-referrers-tag is off, as in dct2notation: both sides store their
// signatures in the same way.
func (h *home) loop(ctx context.Context, workers int, key, references []string) (usage, error) {
	return h.each(ctx, workers, append([]string{"sign", "--force-referrers-tag=false"}, key...), references)
}

// each calls the notation command once for each reference, so many at a time.
func (h *home) each(ctx context.Context, workers int, args, references []string) (usage, error) {
	c := exec.Command("xargs", append([]string{"-P", fmt.Sprint(workers), "-n", "1", h.program("notation")}, args...)...)
	c.Env, c.Dir = h.env(), h.dir
	c.Stdin = strings.NewReader(strings.Join(references, "\n") + "\n")
	return metered(ctx, c)
}

// exitSome is the exit code of xargs when some of the commands failed.
const exitSome = 123

// failedSome forgives the loop that some of its commands failed: how many is a result.
func failedSome(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitSome {
		return nil
	}
	return err
}
