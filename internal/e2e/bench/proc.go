//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc on every Linux that Go supports.
const tick = time.Second / 100

// readOwn reads a process's CPU time, user and system, without its children.
func readOwn(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's CPU time: %w", err)
	}
	return parseOwn(string(raw))
}

// parseOwn takes utime and stime, the 14th and 15th field. The second field is the
// program's name in parentheses, in which anything may be.
func parseOwn(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) < 13 {
		return 0, errors.New("reading a process's CPU time: too few fields")
	}
	ticks, err := sum(fields[11:13])
	return time.Duration(ticks) * tick, err
}

// Lines of a process's status.
const (
	peakMemory = "VmHWM:"   // resident at its largest, mapped files included
	ownMemory  = "RssAnon:" // resident now, without mapped files such as the ledger
)

// readPeak reads a process's resident memory at its largest, in bytes.
func readPeak(pid int) (int64, error) { return readMemory(pid, peakMemory) }

func readMemory(pid int, which string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	return parseMemory(string(raw), which)
}

// parseMemory takes a line in kB. A process that has ended and was not waited for has none.
func parseMemory(status, which string) (int64, error) {
	for line := range strings.Lines(status) {
		text, found := strings.CutPrefix(line, which)
		if !found {
			continue
		}
		kilo, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading a process's memory: %w", err)
		}
		return kilo << 10, nil
	}
	return 0, errors.New("reading a process's memory: no such line")
}

// machine is CPU time of all cores since boot, in ticks.
type machine struct{ busy, all int64 }

// busySince is the CPU time in use, as a share of all cores.
func (m machine) busySince(before machine) float64 {
	if m.all == before.all {
		return 0 // less than a tick has passed
	}
	return float64(m.busy-before.busy) / float64(m.all-before.all)
}

func readMachine() (machine, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	return parseMachine(string(raw))
}

// parseMachine reads the first line: user, nice, system, idle, iowait, irq, softirq,
// steal. What follows is contained in user.
func parseMachine(stat string) (machine, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return machine{}, errors.New("reading the machine's CPU time: not as expected")
	}
	all, err := sum(fields[1:9])
	if err != nil {
		return machine{}, err
	}
	idle, err := sum(fields[4:6])
	return machine{all - idle, all}, err
}

func sum(numbers []string) (int64, error) {
	var total int64
	for _, text := range numbers {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		total += n
	}
	return total, nil
}

// readWaiting is for how long since boot some process that could run had no core. False
// means that this kernel does not tell.
func readWaiting() (time.Duration, bool, error) {
	raw, err := os.ReadFile("/proc/pressure/cpu")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("reading how long processes waited for a core: %w", err)
	}
	waited, err := parseWaiting(string(raw))
	return waited, err == nil, err
}

// parseWaiting reads total= of the line that begins with some, in microseconds.
func parseWaiting(pressure string) (time.Duration, error) {
	for line := range strings.Lines(pressure) {
		_, total, found := strings.Cut(strings.TrimSpace(line), "total=")
		if !found || !strings.HasPrefix(line, "some ") {
			continue
		}
		n, err := strconv.ParseInt(total, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading how long processes waited for a core: %w", err)
		}
		return time.Duration(n) * time.Microsecond, nil
	}
	return 0, errors.New("reading how long processes waited for a core: no such line")
}
