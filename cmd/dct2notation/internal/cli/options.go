package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dct2notation/dct2notation/migrate/report"
)

// CheckFormat returns a usage error unless results can be shown in the format that a flag names.
func CheckFormat(flag, format string) error {
	if !slices.Contains(report.Formats(), format) {
		return Usage(fmt.Errorf("%s %s: must be one of %s", flag, format, strings.Join(report.Formats(), ", ")))
	}
	return nil
}

// Common are the options of every verb that reads something.
type Common struct {
	config    string
	Output    string
	LogFormat string
	Quiet     bool
	Verbose   bool // for the verbs that bind it
	color     string
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
		f.BoolVarP(&o.Quiet, "quiet", "q", false, "print failures and the last line of the result only, and no progress")
		f.StringVar(&o.color, "color", "auto", "color words on a terminal: auto (unless NO_COLOR is set), always or never")
		f.BoolVar(&o.noTTY, "no-tty", false, "print on a terminal as to a pipe")
	})
}

// BindVerbose adds the flag for verbs that show only a part of the result on a terminal.
func (o *Common) BindVerbose(f *pflag.FlagSet, what string) {
	Grouped(f, GroupOutput, func(f *pflag.FlagSet) { f.BoolVarP(&o.Verbose, "verbose", "v", false, what) })
}

// Check returns a usage error for invalid values.
func (o *Common) Check() error {
	if o.Output != "text" && o.Output != "json" {
		return Usage(fmt.Errorf("--output %s: must be text or json", o.Output))
	}
	return o.CheckLog()
}

// CheckResult is Check for verbs whose result can be shown in any report format.
func (o *Common) CheckResult() error {
	if err := CheckFormat("--output", o.Output); err != nil {
		return err
	}
	return o.CheckLog()
}

// CheckLog is Check for verbs with output formats of their own.
func (o *Common) CheckLog() error {
	if o.LogFormat != "text" && o.LogFormat != "json" {
		return Usage(fmt.Errorf("--log-format %s: must be text or json", o.LogFormat))
	}
	if !slices.Contains([]string{"", "auto", "always", "never"}, o.color) {
		return Usage(fmt.Errorf("--color %s: must be auto, always or never", o.color))
	}
	if o.Quiet && (o.Verbose || o.debug) {
		return Usage(errors.New("--quiet cannot be used with --verbose or --debug"))
	}
	return nil
}

// Logger writes to stderr: for a person if that is a terminal, else lines for a program. In text it leaves out the
// time: whatever collects the lines adds one.
func (o *Common) Logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case o.debug:
		level = slog.LevelDebug
	case o.Quiet:
		level = slog.LevelWarn
	}
	if t := o.Terminal(w); t != nil && o.LogFormat == "text" {
		return slog.New(&forPeople{to: t, color: o.Colored(t), level: level})
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

// CommonOf returns the options set by the flags of a verb, and reports whether the verb has these flags.
func CommonOf(f *pflag.FlagSet) (*Common, bool) {
	o := &Common{LogFormat: "text", color: "auto"}
	for name, to := range map[string]*string{"log-format": &o.LogFormat, "color": &o.color} {
		one := f.Lookup(name)
		if one == nil {
			return o, false
		}
		*to = one.Value.String()
	}
	o.Quiet, _ = f.GetBool("quiet") // bound with the others
	o.noTTY, _ = f.GetBool("no-tty")
	return o, true
}

// Terminal returns the terminal behind a stream; nil if the stream is not a terminal or is treated as a pipe.
func (o *Common) Terminal(w io.Writer) *Terminal {
	t, _ := w.(*Terminal)
	if o.noTTY {
		return nil
	}
	return t
}

// ProgressOn returns the terminal for the progress bar; nil: progress is logged as lines.
func (o *Common) ProgressOn(w io.Writer) *Terminal {
	if o.LogFormat != "text" || o.Quiet {
		return nil
	}
	return o.Terminal(w)
}

// Colored reports whether to color words on a terminal.
func (o *Common) Colored(t *Terminal) bool {
	switch o.color {
	case "always":
		return true
	case "never":
		return false
	}
	return t != nil && os.Getenv("NO_COLOR") == ""
}

// Screen returns how to show a result to a person, and reports whether to do so; otherwise it is written in full.
func (o *Common) Screen(out io.Writer) (report.Screen, bool) {
	t := o.Terminal(out)
	if o.Output != "text" || o.Verbose || t == nil && !o.Quiet {
		return report.Screen{}, false
	}
	s := report.Screen{Color: o.Colored(t), Quiet: o.Quiet}
	if t != nil {
		s.Width = t.Width()
	}
	return s, true
}

// Twice reports whether the same person reads both streams.
func (o *Common) Twice(s Streams) bool {
	_, screen := o.Screen(s.Out)
	return screen && o.Terminal(s.Out) != nil && o.Terminal(s.Err) != nil
}
