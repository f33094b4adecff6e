//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// holdCommand is the argument that makes this program a child which does nothing but hold the pipe.
const holdCommand = "hold-stdout"

// linger waits as long as the fault says, or until the behaviour file is gone: nobody is testing any more.
func (j *job) linger() { wait(j.path, j.lasting()) }

func (j *job) lasting() time.Duration {
	if j.fault.Ms > 0 {
		return time.Duration(j.fault.Ms) * time.Millisecond
	}
	return time.Minute
}

func wait(while string, atMost time.Duration) {
	const look = 50 * time.Millisecond
	for end := time.Now().Add(atMost); time.Now().Before(end); {
		if _, err := os.Stat(while); err != nil {
			return
		}
		time.Sleep(min(look, time.Until(end)))
	}
}

func (j *job) hang(stderr io.Writer) int {
	j.linger()
	return refuse(stderr, fmt.Errorf("hung for %v and gave up", j.lasting()))
}

// spawnHolder starts a child that keeps our stdout open; in a session of its own it survives the
// killing of our process group.
func (j *job) spawnHolder(ownSession bool) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting a child: %w", err)
	}
	child := exec.Command(program, holdCommand, j.path, strconv.FormatInt(j.lasting().Milliseconds(), 10))
	child.Stdout = os.Stdout
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: ownSession}
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting a child: %w", err)
	}
	return nil
}

// hold is the child: it holds its stdout for the given time.
func hold(args []string) {
	if len(args) != 2 {
		return
	}
	ms, err := strconv.Atoi(args[1])
	if err != nil {
		return
	}
	wait(args[0], time.Duration(ms)*time.Millisecond)
}
