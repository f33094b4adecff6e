package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dct2notation/dct2notation/internal/testing/servertest"
)

// TestContainerImage builds the image as `make image` does, and migrates a repository in it. run.sh
// reports where it is left out.
func TestContainerImage(t *testing.T) {
	t.Parallel()
	if os.Getenv("DCT2NOTATION_E2E_IMAGE") == "no" {
		t.Skip("no container can be made here: run.sh said so")
	}
	n := newNovice(t, "")
	n.must(t, "notation", "cert", "generate-test", "--default", "container")
	// Its own images and containers, with no privilege except to change the root folder.
	storage := []string{"--root", n.path("storage"), "--runroot", n.path("runroot"), "--storage-driver", "vfs"}
	build := exec.Command(filepath.Join("..", "..", "deploy", "container", "build.sh"), "scratch", "dct2notation-e2e")
	build.Env = append(os.Environ(), "BUILDER=buildah", "BUILD_FLAGS="+strings.Join(append(storage, "--isolation", "chroot"), " "))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the image: got %v, want it built:\n%s", err, out)
	}
	buildah := func(args ...string) result { return n.must(t, "buildah", append(storage, args...)...) }
	// DOCKER_CONFIG promises this file, so it must exist.
	servertest.WriteFile(t, n.path("docker", "config.json"), []byte("{}"))
	container := strings.TrimSpace(buildah("from", "--pull-never", "dct2notation-e2e").stdout)
	t.Cleanup(func() { n.run(t, "buildah", append(storage, "rm", container)...) })

	me := strconv.Itoa(os.Getuid())
	inside := func(args ...string) result {
		run := []string{"run", "--isolation", "chroot", "--user", me, "--volume", n.path() + ":" + n.path(), "--workingdir", n.dir}
		for _, v := range n.env() {
			name, _, _ := strings.Cut(v, "=")
			if name != "PATH" && name != "HOME" && name != "TMPDIR" {
				run = append(run, "--env", v)
			}
		}
		return buildah(append(append(run, container, "--", "/usr/bin/dct2notation"), args...)...)
	}
	inspected := buildah("inspect", "--format", "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.WorkingDir}}", container)
	if got, want := strings.TrimSpace(inspected.stdout), "65532:65532 [/usr/bin/dct2notation] /work"; got != want {
		t.Errorf("the image: got user, entry point and folder %q, want %q", got, want)
	}
	// Run without a user name or a home directory.
	if r := buildah("run", "--isolation", "chroot", container, "--", "/usr/bin/dct2notation", "version"); !strings.HasPrefix(r.stdout, "dct2notation ") {
		t.Errorf("as nobody: got %q, want the version", r.stdout)
	}
	const app = "registry.example.com/team/app"
	flags := []string{"--notary-server", "https://notary.example.com", "--min-validity", "1h"}
	if r := inside(append(append([]string{"plan"}, flags...), app)...); !strings.Contains(r.stdout, "sign 2, repositories not read 0") {
		t.Errorf("plan in the container: got\n%s\nwant 2 to be signed", r)
	}
	if r := inside(append(append([]string{"run"}, flags...), app)...); !strings.Contains(r.stdout, "signed 2, replayed 0") {
		t.Errorf("run in the container: got\n%s\nwant 2 signed", r)
	}
	// The ledger is on the volume, so a second container continues from it.
	if r := inside(append(append([]string{"run"}, flags...), app)...); !strings.Contains(r.stdout, "already signed 2") {
		t.Errorf("the second run in the container: got\n%s\nwant 2 already signed", r)
	}
}
