// Package lint holds checks of the repository itself, as tests.
package lint
