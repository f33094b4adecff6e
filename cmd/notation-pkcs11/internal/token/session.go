//go:build cgo && unix

package token

import (
	"errors"
	"fmt"
	"os"

	"github.com/miekg/pkcs11"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/pin"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// Session is a login to one token.
type Session struct {
	module *pkcs11.Ctx
	handle pkcs11.SessionHandle
	token  tokenIn
	pin    pin.PIN
	hasPIN bool
	turn   *os.File // see takeTurn; closing the nil file does nothing
}

// Open loads the module, opens the token that ref describes and logs in. hasPIN is false if no PIN is configured;
// then only a token that requires none can be opened. The caller closes the session.
func Open(module string, ref keyref.Ref, p pin.PIN, hasPIN bool) (*Session, error) {
	turn, err := takeTurn(module, os.Getenv)
	if err != nil {
		return nil, err
	}
	ctx, err := load(module)
	if err != nil {
		turn.Close()
		return nil, err
	}
	s := &Session{module: ctx, pin: p, hasPIN: hasPIN, turn: turn}
	if err := s.open(ref); err != nil {
		ctx.Finalize()
		turn.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) open(ref keyref.Ref) error {
	var err error
	if s.token, err = choose(s.module, ref); err != nil {
		return err
	}
	if s.handle, err = s.module.OpenSession(s.token.slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return fmt.Errorf("opening a session on token %s: %w", s.token, explain(err))
	}
	if err := s.login(); err != nil {
		return fmt.Errorf("logging in to token %s: %w", s.token, err)
	}
	return nil
}

func (s *Session) login() error {
	if !s.hasPIN {
		if s.token.info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
			return nil
		}
		return fault.Denied("set "+pin.DefaultEnv+", or name a pin_file or pin_env in plugin-config", "no PIN is configured")
	}
	if err := mayTry(s.token.info.Flags); err != nil {
		return err
	}
	err := s.module.Login(s.handle, pkcs11.CKU_USER, s.pin.Reveal())
	if err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return explain(err)
	}
	return nil
}

// mayTry leaves the last attempt to a person. A migration may start this plugin from many workers at once; a PIN that
// is wrong once is wrong in all of them.
func mayTry(flags uint) error {
	switch {
	case flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return fault.Denied(lockedIn.hint, "the PIN of the token is locked")
	case flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return fault.Denied("log in once with the right PIN, using the token's own tools, and correct the PIN configured here",
			"one more wrong PIN would lock the token, so the PIN was not tried")
	}
	return nil
}

// Close ends the login. It ignores errors, as the process ends next. The library stays loaded, because some leave
// threads behind that crash when their code is unmapped.
func (s *Session) Close() {
	s.module.CloseSession(s.handle)
	s.module.Finalize()
	s.turn.Close()
}
