package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/internal/safetext"
)

// version is set by the linker for a release.
var version = ""

// Version returns the tool's version: a release's, the module's, or devel.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// NoArgs refuses arguments with a usage error.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return Usage(fmt.Errorf("%s takes no arguments, and %s is one\nhint: %s --help lists the flags", c.Name(), safetext.Safe(args[0], 128), c.CommandPath()))
}

// Tool returns the name and version of this program, for servers, signatures and reports.
func Tool() string { return "dct2notation/" + Version() }
