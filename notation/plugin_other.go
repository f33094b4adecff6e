//go:build !unix

package notation

import "io/fs"

func binaryName(plugin string) string { return "notation-" + plugin + ".exe" }

// untold is what is said of a plugin's file beside its place.
const untold = "; who can change or replace it is not checked on this system"

// alterable cannot tell: Windows keeps who may write in access lists that file modes do
// not show.
func alterable(fs.FileInfo, int) (why, hint string) { return "", "" }
