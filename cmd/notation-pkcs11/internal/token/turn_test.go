//go:build cgo && unix

package token

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

func TestSoftHSMProcessesTakeTurns(t *testing.T) {
	t.Parallel()
	conf := filepath.Join(t.TempDir(), "softhsm2.conf")
	if err := os.WriteFile(conf, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	getenv := func(string) string { return conf }
	first, err := takeTurn("/lib/libsofthsm2.so", getenv)
	if err != nil || first == nil {
		t.Fatalf("got %v, error %v, want a turn", first, err)
	}
	waiting, err := os.Open(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := lock(waiting, 20*time.Millisecond); err == nil {
		t.Error("got two processes with their turn at once, want one")
	} else if got := fault.Protocol(err); got.ErrCode != plugin.ErrorCodeThrottled {
		t.Errorf("got %v, want THROTTLED", got)
	}
	first.Close()
	second, err := takeTurn("/lib/libsofthsm2.so", getenv)
	if err != nil || second == nil {
		t.Fatalf("got %v, error %v, want the turn given back", second, err)
	}
	second.Close()
}

func TestOtherModulesRunAtOnce(t *testing.T) {
	t.Parallel()
	if turn, err := takeTurn("/opt/hsm/libvendor.so", func(string) string { return t.TempDir() }); turn != nil || err != nil {
		t.Errorf("got %v, %v, want no lock", turn, err)
	}
}
