// Package e2e tests the built programs against the real software of other projects: Debian's
// notary-server and notary command, docker-registry, SoftHSM, olareg, skopeo, the docker command as
// the judge of what DCT trusts, and the notation command as the judge of what was signed. It is a
// module of its own, so that the product has none of their dependencies. run.sh installs and builds
// what it needs and runs it.
//
// It promises that a digest that DCT vouches for ends with exactly one signature that the real
// notation verify accepts, for every kind of registry and key, and however often the run was
// killed. Nothing else is signed. What DCT vouches for is what the real tools say, except for the
// differences listed in dct/README.md. Whatever happens to the disk or the power, a ledger has what
// it acknowledged: see state/README.md. A missing program is a failure, never a skipped test. Only
// the docker command is optional, and run.sh reports if it is not installed. The HTML report is
// opened in Chromium: see browser.
//
// All servers listen on 127.0.0.1 and end with the test that started them. Certificates, trust data
// and tokens are made anew each time, in folders that the tests remove.
package e2e
