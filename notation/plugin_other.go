//go:build !unix

package notation

import "io/fs"

func binaryName(plugin string) string { return "notation-" + plugin + ".exe" }

// alterable cannot tell: Windows keeps who may write in access lists that file modes do
// not show.
func alterable(fs.FileInfo, int) (why, hint string) { return "", "" }
