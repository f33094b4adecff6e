// Package e2e tests the built programs against the real software of other projects:
// Debian's notary-server and notary command, docker-registry, SoftHSM, olareg, skopeo, the
// docker command as the judge of what DCT trusts, and the notation command as the judge
// of what was signed. It is a module of its own, so that none of their dependencies reach
// the product. run.sh installs and builds what it needs and runs it.
//
// What it promises: a digest that DCT vouches for ends with exactly one signature that
// the real notation verify accepts, whatever kind of registry and key, and however often
// the run was killed; and nothing else is signed. And what DCT vouches for is what the real
// tools say, but for the differences that dct/README.md lists. And whatever becomes of the
// disk or the power, a ledger has what it acknowledged: see state/README.md. A missing program is a
// failure, never a skipped test; but the docker command is used where it is installed, and
// run.sh says so where it is not. The HTML report is opened in Chromium: see browser.
//
// All servers listen on 127.0.0.1 and end with the test that started them. Certificates,
// trust data and tokens are made anew each time, in folders that the tests remove.
package e2e
