//go:build cgo && unix

package token

import (
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/dct2notation/dct2notation/cmd/notation-pkcs11/internal/keyref"
	"github.com/dct2notation/dct2notation/internal/rawplugin/fault"
)

// tokenIn is a token and the slot it is in now.
type tokenIn struct {
	slot uint
	info pkcs11.TokenInfo
}

func (t tokenIn) String() string {
	return fmt.Sprintf("%q (serial %q, slot %d)", text(t.info.Label), text(t.info.SerialNumber), t.slot)
}

// choose returns the one token that ref describes.
func choose(module *pkcs11.Ctx, ref keyref.Ref) (tokenIn, error) {
	all, err := tokens(module)
	if err != nil {
		return tokenIn{}, fmt.Errorf("listing tokens: %w", err)
	}
	return pick(all, ref)
}

// tokens lists the initialised tokens. It skips a slot that cannot be read, since a module may have other readers
// unrelated to us; if no slot can be read, it returns the reason.
func tokens(module *pkcs11.Ctx) ([]tokenIn, error) {
	slots, err := module.GetSlotList(true)
	if err != nil {
		return nil, explain(err)
	}
	var found []tokenIn
	var unreadable error
	for _, slot := range slots {
		info, err := module.GetTokenInfo(slot)
		if err != nil {
			unreadable = fmt.Errorf("reading the token in slot %d: %w", slot, explain(err))
			continue
		}
		// Some smart card modules never set the flag, but have a label.
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 || text(info.Label) != "" {
			found = append(found, tokenIn{slot, info})
		}
	}
	if len(found) == 0 && unreadable != nil {
		return nil, unreadable
	}
	return found, nil
}

func pick(all []tokenIn, ref keyref.Ref) (tokenIn, error) {
	var fit []tokenIn
	for _, t := range all {
		if fits(t, ref) {
			fit = append(fit, t)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return tokenIn{}, fault.Invalid("name one by token, or by serial in a PKCS#11 URI",
			"%d tokens fit (wanted: %s): %s", len(fit), ref.TokenText(), list(fit))
	case len(all) == 0:
		return tokenIn{}, fault.Invalid("see that the device is connected and the module is configured to find it",
			"the PKCS#11 module shows no token")
	default:
		return tokenIn{}, fault.Invalid("correct the name of the token, or see that it is connected",
			"no token with %s; there are: %s", ref.TokenText(), list(all))
	}
}

func fits(t tokenIn, ref keyref.Ref) bool {
	is := func(want, have string) bool { return want == "" || want == text(have) }
	return is(ref.Token, t.info.Label) && is(ref.Serial, t.info.SerialNumber) &&
		is(ref.Manufacturer, t.info.ManufacturerID) && is(ref.Model, t.info.Model) &&
		(ref.Slot == nil || *ref.Slot == t.slot)
}

// text removes the padding of a fixed-width field. PKCS#11 pads with blanks; some modules pad with zero bytes.
func text(field string) string { return strings.TrimRight(field, " \x00") }

func list(all []tokenIn) string {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}
