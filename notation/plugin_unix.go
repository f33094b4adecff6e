//go:build unix

package notation

import "io/fs"

func binaryName(plugin string) string { return "notation-" + plugin }

// insecureMode tells whether others than the owner may change the file.
func insecureMode(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
