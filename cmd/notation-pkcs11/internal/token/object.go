//go:build cgo && unix

package token

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// maxObjects limits a search, so that no token can keep us busy forever.
const maxObjects = 4096

// find returns the objects that have all these attributes. It always adds CKA_TOKEN: session objects of other
// programs are not wanted, and some modules require it.
func (s *Session) find(attributes ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	attributes = append(attributes, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if err := s.module.FindObjectsInit(s.handle, attributes); err != nil {
		return nil, explain(err)
	}
	defer s.module.FindObjectsFinal(s.handle)
	var found []pkcs11.ObjectHandle
	for {
		some, _, err := s.module.FindObjects(s.handle, 64)
		if err != nil {
			return nil, explain(err)
		}
		if len(some) == 0 {
			return found, nil
		}
		if found = append(found, some...); len(found) > maxObjects {
			return nil, fmt.Errorf("the token shows more than %d objects", maxObjects)
		}
	}
}

// attribute reads one attribute. It returns nil if the object does not have it, or does not show it. It reads one at
// a time, because a single unknown attribute makes the binding drop them all.
func (s *Session) attribute(object pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	values, err := s.module.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)) ||
		errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	if len(values[0].Value) == 0 {
		return nil, nil
	}
	return values[0].Value, nil
}

// number decodes a CK_ULONG, which has the machine's word size and byte order.
func number(value []byte) (uint, bool) {
	switch len(value) {
	case 4:
		return uint(binary.NativeEndian.Uint32(value)), true
	case 8:
		return uint(binary.NativeEndian.Uint64(value)), true
	}
	return 0, false
}

func class(kind uint) *pkcs11.Attribute { return pkcs11.NewAttribute(pkcs11.CKA_CLASS, kind) }
