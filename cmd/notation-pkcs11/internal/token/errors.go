//go:build cgo && unix

package token

import (
	"errors"

	"github.com/miekg/pkcs11"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// verdict is what a PKCS#11 return value means to the caller who requested a signature.
type verdict struct {
	code plugin.ErrorCode
	hint string
}

var (
	wrongPIN = verdict{plugin.ErrorCodeAccessDenied, "check the PIN before trying again: most tokens lock after a few wrong ones"}
	lockedIn = verdict{plugin.ErrorCodeAccessDenied, "the token's security officer has to unlock it or set a new PIN"}
	noLogin  = verdict{plugin.ErrorCodeAccessDenied, "give the user PIN, and see that no other login on the token is in the way"}
	busy     = verdict{plugin.ErrorCodeThrottled, "the token is at its limit of sessions or memory: try again, with fewer signing processes at once"}
	gone     = verdict{plugin.ErrorCodeGeneric, "see that the device is connected and its service is running"}
	noToken  = verdict{plugin.ErrorCodeValidation, "see that the token is in its slot and that token, serial or slot-id name it"}
	unfit    = verdict{plugin.ErrorCodeValidation, "the token does not let this key make Notation's signatures (RSASSA-PSS or ECDSA): see the key's CKA_SIGN, CKA_ALLOWED_MECHANISMS and the token's mechanisms"}
	unknown  = verdict{plugin.ErrorCodeGeneric, "see the log of the PKCS#11 module"}
)

var verdicts = map[pkcs11.Error]verdict{
	pkcs11.CKR_PIN_INCORRECT: wrongPIN,
	pkcs11.CKR_PIN_INVALID:   wrongPIN,
	pkcs11.CKR_PIN_LEN_RANGE: wrongPIN,

	pkcs11.CKR_PIN_LOCKED:               lockedIn,
	pkcs11.CKR_PIN_EXPIRED:              lockedIn,
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED: lockedIn,

	pkcs11.CKR_USER_NOT_LOGGED_IN:             noLogin,
	pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN: noLogin,
	pkcs11.CKR_USER_TOO_MANY_TYPES:            noLogin,

	pkcs11.CKR_SESSION_COUNT: busy,
	pkcs11.CKR_DEVICE_MEMORY: busy,
	pkcs11.CKR_HOST_MEMORY:   busy,

	pkcs11.CKR_DEVICE_REMOVED: gone,
	pkcs11.CKR_DEVICE_ERROR:   gone,

	pkcs11.CKR_SLOT_ID_INVALID:      noToken,
	pkcs11.CKR_TOKEN_NOT_PRESENT:    noToken,
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED: noToken,

	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: unfit,
	pkcs11.CKR_KEY_SIZE_RANGE:             unfit,
	pkcs11.CKR_KEY_TYPE_INCONSISTENT:      unfit,
	pkcs11.CKR_MECHANISM_INVALID:          unfit,
	pkcs11.CKR_MECHANISM_PARAM_INVALID:    unfit,
}

// explain adds the protocol code and a hint to an error of the module. Unknown values are ERROR.
func explain(err error) error {
	var rv pkcs11.Error
	if !errors.As(err, &rv) {
		return err
	}
	v, ok := verdicts[rv]
	if !ok {
		v = unknown
	}
	return &fault.Fault{Code: v.code, Hint: v.hint, Cause: err}
}
