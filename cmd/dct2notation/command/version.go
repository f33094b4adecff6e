package command

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli"
	"github.com/dct2notation/dct2notation/migrate/report"
)

const versionKind = "dct2notation.version"

// A versionResult is version -o json.
type versionResult struct {
	Version  int    `json:"version"` // of this form
	Kind     string `json:"kind"`
	Release  string `json:"release"`            // version of the program: of a release, or of the module; devel: neither
	Commit   string `json:"commit,omitempty"`   // that it was built from
	Modified bool   `json:"modified,omitempty"` // the files were not those of the commit
	Go       string `json:"go"`                 // version of Go
	Platform string `json:"platform"`           // operating system and processor
}

func newVersion(s cli.Streams) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cli.NoArgs,
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	c.RunE = func(*cobra.Command, []string) error {
		v := versionResult{Version: 1, Kind: versionKind, Release: cli.Version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, setting := range info.Settings {
				switch setting.Key {
				case "vcs.revision":
					v.Commit = setting.Value
				case "vcs.modified":
					v.Modified = setting.Value == "true"
				}
			}
		}
		switch format {
		case "text":
			_, err := fmt.Fprintf(s.Out, "dct2notation %s %s %s\n", v.Release, v.Platform, v.Go)
			return err
		case "json":
			return report.JSON(s.Out, v)
		}
		return cli.Usage(fmt.Errorf("--output %s: must be text or json", format))
	}
	return c
}
