//go:build !unix

package notation

import "io/fs"

func binaryName(plugin string) string { return "notation-" + plugin + ".exe" }

// untold is added to what is said about the place of a plugin's file.
const untold = "; who can change or replace it is not checked on this system"

// alterable cannot tell: Windows has write permissions in access lists that file modes do not show.
func alterable(fs.FileInfo, int) (why, hint string) { return "", "" }
