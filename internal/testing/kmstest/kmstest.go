// Package kmstest stands in for a key management service: it installs "kmstest", a real Notation
// plugin whose every misbehaviour can be ordered.
//
//	id, _ := authority.Issue("release key", nil) // of package pki
//	key, _ := id.Save(dir, "release")
//	p, _ := kmstest.Install(libexec, kmstest.Behaviour{Keys: map[string]pki.Files{"release": key}})
//	... sign with --plugin kmstest --id release and p.Config() as --plugin-config ...
//	calls, _ := p.Calls("generate-signature")
//
// The plugin is a separate program (folder notation-kmstest) that speaks the protocol by hand, since a
// well-behaved framework cannot misbehave. It is told what to do by a Behaviour in a JSON file. The
// file's path comes with each request as plugin-config "behaviour"; without that, the plugin reads
// kmstest.json beside its executable, where Install puts it, so both are the same file.
//
// Counting is over all processes of one installation and survives kill -9. Everything that lingers by
// order (hangs, children that hold a pipe) ends by itself, at the latest when the behaviour file is
// deleted, as at the end of a test that installed into its temporary directory.
//
// All functions and methods may be called from several goroutines at once. Nothing here takes a
// testing.TB: the demo and benchmarks use it too.
package kmstest
