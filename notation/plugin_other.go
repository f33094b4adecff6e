//go:build !unix

package notation

import "io/fs"

func binaryName(plugin string) string { return "notation-" + plugin + ".exe" }

// Windows keeps who may write in access lists that file modes do not show.
func insecureMode(fs.FileInfo) bool { return false }
