package fault

import (
	"errors"
	"fmt"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

func TestProtocolKeepsCodeAndHintThroughWrapping(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		err  error
		code plugin.ErrorCode
		text string
	}{
		{"invalid", Invalid("name a token", "no token"), plugin.ErrorCodeValidation, "no token\nhint: name a token"},
		{"denied, wrapped twice", fmt.Errorf("opening: %w", fmt.Errorf("logging in: %w", Denied("ask", "no"))),
			plugin.ErrorCodeAccessDenied, "opening: logging in: no\nhint: ask"},
		{"no hint", Invalid("", "bad"), plugin.ErrorCodeValidation, "bad"},
		{"plain", errors.New("disk on fire"), plugin.ErrorCodeGeneric, "disk on fire"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Protocol(c.err)
			if got.ErrCode != c.code || got.Message != c.text {
				t.Errorf("Protocol: got %s %q, want %s %q", got.ErrCode, got.Message, c.code, c.text)
			}
		})
	}
}

func TestProtocolOfNoErrorIsNil(t *testing.T) {
	t.Parallel()
	if got := Protocol(nil); got != nil {
		t.Errorf("Protocol(nil): got %v, want nil", got)
	}
}

func TestCauseStaysVisible(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	if !errors.Is(Invalid("", "reading: %w", cause), cause) {
		t.Error("got the cause lost, want it wrapped")
	}
}
