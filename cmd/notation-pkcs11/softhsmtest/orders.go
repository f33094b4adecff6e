//go:build cgo && unix

package softhsmtest

import (
	"fmt"

	"github.com/miekg/pkcs11"
)

// securityOfficer is the PIN that initialises tokens. Nothing else uses it.
const securityOfficer = "12345678"

// desk is a child's open token.
type desk struct {
	module  *pkcs11.Ctx
	session pkcs11.SessionHandle
}

// carryOut runs in the child.
func (o order) carryOut() ([]byte, error) {
	module := pkcs11.New(o.Module)
	if module == nil {
		return nil, fmt.Errorf("loading %s", o.Module)
	}
	if err := module.Initialize(); err != nil {
		return nil, fmt.Errorf("initialising %s: %w", o.Module, err)
	}
	defer module.Finalize()
	if o.Verb == "init" {
		return nil, o.initToken(module)
	}
	session, err := o.open(module)
	if err != nil {
		return nil, err
	}
	d := desk{module, session}
	switch o.Verb {
	case "rsa":
		return d.rsa(o)
	case "ec":
		return d.ec(o)
	case "import":
		return nil, d.importCertificate(o)
	case "ids":
		return d.ids(o.Label)
	case "delete-public":
		return nil, d.deletePublic(o.Label)
	}
	return nil, fmt.Errorf("unknown order %q", o.Verb)
}

func (o order) initToken(module *pkcs11.Ctx) error {
	slot, err := slotWhere(module, func(i pkcs11.TokenInfo) bool { return i.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 })
	if err != nil {
		return err
	}
	if err := module.InitToken(slot, securityOfficer, o.Token); err != nil {
		return err
	}
	session, err := module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return err
	}
	if err := module.Login(session, pkcs11.CKU_SO, securityOfficer); err != nil {
		return err
	}
	return module.InitPIN(session, o.PIN)
}

func (o order) open(module *pkcs11.Ctx) (pkcs11.SessionHandle, error) {
	slot, err := slotWhere(module, func(i pkcs11.TokenInfo) bool { return i.Label == o.Token })
	if err != nil {
		return 0, err
	}
	session, err := module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return 0, err
	}
	return session, module.Login(session, pkcs11.CKU_USER, o.PIN)
}

func slotWhere(module *pkcs11.Ctx, fits func(pkcs11.TokenInfo) bool) (uint, error) {
	slots, err := module.GetSlotList(true)
	if err != nil {
		return 0, err
	}
	for _, slot := range slots {
		if info, err := module.GetTokenInfo(slot); err == nil && fits(info) {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("none of %d slots has the token", len(slots))
}
