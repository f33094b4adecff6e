package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dct2notation/dct2notation/migrate/report"
)

// CheckFormat returns a usage error unless results can be shown in the format that a flag names.
func CheckFormat(flag, format string) error {
	if !slices.Contains(report.Formats(), format) {
		return Usage(fmt.Errorf("%s %s: must be one of %s", flag, format, strings.Join(report.Formats(), ", ")))
	}
	return nil
}

// Common are those of every verb that reads something.
type Common struct {
	config    string
	Output    string
	LogFormat string
	debug     bool
	noTTY     bool
}

// Bind adds the flags.
func (o *Common) Bind(f *pflag.FlagSet) {
	Grouped(f, GroupOutput, func(f *pflag.FlagSet) {
		f.StringVar(&o.config, "config", "", "configuration file (YAML)")
		f.StringVarP(&o.Output, "output", "o", "text", "format of the result on stdout: text or json")
		f.StringVar(&o.LogFormat, "log-format", "text", "format of log messages on stderr: text or json")
		f.BoolVarP(&o.debug, "debug", "d", false, "print debug messages to stderr")
		f.BoolVar(&o.noTTY, "no-tty", false, "print plain lines instead of a progress bar")
	})
}

// Check returns a usage error for invalid values.
func (o *Common) Check() error {
	if o.Output != "text" && o.Output != "json" {
		return Usage(fmt.Errorf("--output %s: must be text or json", o.Output))
	}
	return o.CheckLog()
}

// CheckResult is check for verbs whose result is shown in any format of a report.
func (o *Common) CheckResult() error {
	if err := CheckFormat("--output", o.Output); err != nil {
		return err
	}
	return o.CheckLog()
}

// CheckLog is Check for verbs that have formats of their own.
func (o *Common) CheckLog() error {
	if o.LogFormat != "text" && o.LogFormat != "json" {
		return Usage(fmt.Errorf("--log-format %s: must be text or json", o.LogFormat))
	}
	return nil
}

// Logger writes to stderr. In text it leaves out the time: a person watches.
func (o *Common) Logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

// Terminal reports whether stderr can show a progress bar.
func (o *Common) Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && !o.noTTY && o.LogFormat == "text" && term.IsTerminal(int(f.Fd()))
}
