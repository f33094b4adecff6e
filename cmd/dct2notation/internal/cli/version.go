package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// version is set by the linker for a release.
var version = ""

// Version is the tool's version: a release's, the module's, or devel.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// NewVersion is the verb version.
func NewVersion(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(s.Out, "dct2notation %s %s/%s %s\n", Version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}

// NoArgs refuses arguments, as a usage error.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return Usage(fmt.Errorf("%s takes no arguments, and %s is one\nhint: %s --help shows the flags", c.Name(), safetext.Safe(args[0], 128), c.CommandPath()))
}

// Tool names this program and its version, for servers, signatures and reports.
func Tool() string { return "dct2notation/" + Version() }
