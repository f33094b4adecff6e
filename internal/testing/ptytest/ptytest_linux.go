// Package ptytest captures what is shown on a terminal.
package ptytest

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Capture runs show with a pseudo-terminal of that many columns, and returns what was written to it, with \e for the
// escape character.
func Capture(t *testing.T, columns int, show func(terminal *os.File)) string {
	t.Helper()
	master, terminal := open(t, columns)
	read := make(chan string)
	go func() {
		raw, err := io.ReadAll(master)
		if err != nil && !errors.Is(err, syscall.EIO) { // Linux returns EIO once the other end is closed
			t.Error(err)
		}
		read <- string(raw)
	}()
	show(terminal)
	if err := terminal.Close(); err != nil {
		t.Error(err)
	}
	text := <-read
	_ = master.Close() // only read from
	return strings.NewReplacer("\r\n", "\n", "\x1b", `\e`).Replace(text)
}

func open(t *testing.T, columns int) (master, terminal *os.File) {
	t.Helper()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	fail(err)
	fail(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	fail(err)
	fail(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: uint16(columns)}))
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	fail(err)
	return master, terminal
}

// Width returns how many columns a line takes.
func Width(line string) int {
	n := 0
	for i := 0; i < len(line); {
		if strings.HasPrefix(line[i:], `\e[`) {
			if end := strings.IndexAny(line[i:], "mK"); end > 0 {
				i += end + 1
				continue
			}
		}
		if line[i] < 0x80 || line[i] >= 0xc0 { // not within a character
			n++
		}
		i++
	}
	return n
}
