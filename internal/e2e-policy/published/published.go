// Package published finds modules of other projects as they were published.
package published

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// Folder returns the folder of a module, path@version, and downloads the module if necessary. The
// module does not become a dependency of ours.
func Folder(module string) (string, error) {
	c := exec.Command("go", "mod", "download", "-json", module)
	c.Dir = os.TempDir() // outside any module
	out, err := c.Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); err != nil || jsonErr != nil || answer.Dir == "" {
		return "", fmt.Errorf("downloading %s: %v %v %s", module, err, jsonErr, answer.Error)
	}
	return answer.Dir, nil
}
