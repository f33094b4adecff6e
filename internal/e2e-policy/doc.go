// Package e2epolicy judges what dct2notation policy writes with the consumers' own definitions and
// commands. It is a module of its own, so that the product does not depend on Kubernetes. It needs
// the Go module proxy: make e2e-policy runs it.
package e2epolicy
