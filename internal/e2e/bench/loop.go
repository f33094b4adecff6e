//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// loop signs with what people use today: the notation command, once for each image, so
// many at a time. force-referrers-tag is off, as in dct2notation: both sides store their
// signatures in the same way.
func (h *home) loop(ctx context.Context, workers int, references []string) (usage, error) {
	c := exec.Command("xargs", "-P", fmt.Sprint(workers), "-n", "1",
		h.program("notation"), "sign", "--plugin", "kmstest", "--id", keyID, "--force-referrers-tag=false")
	c.Env, c.Dir = h.env(), h.dir
	c.Stdin = strings.NewReader(strings.Join(references, "\n") + "\n")
	return metered(ctx, c)
}
