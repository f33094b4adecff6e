#!/usr/bin/env bash
# Runs the end-to-end tests. Installs the Debian packages they need where it is root and
# has apt-get; elsewhere it fails with the list of what is missing. Nothing is skipped, but
# that docker is compared only where it is installed, and that the container image is run only
# where mounts may be made; the last lines say where that is not so.
#
#   internal/e2e/run.sh [ARGUMENTS OF go test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bin=$PWD/.bin

# program:Debian package
needed=(curl:curl openssl:openssl notary:notary notary-server:notary docker-registry:docker-registry softhsm2-util:softhsm2 skopeo:skopeo strace:strace gcc:gcc chromium:chromium buildah:buildah)

missing() {
	local entry
	{
		for entry in "${needed[@]}"; do
			command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
		done
		# gcc only recommends it, and cgo does not compile without.
		[ -e /usr/include/stdlib.h ] || echo libc6-dev
	} | sort -u
}

# refuse_services keeps the installation from starting what it installs: the tests start
# their own servers, on ports of their own.
refuse_services() {
	local policy=/usr/sbin/policy-rc.d
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap "rm -f $policy" EXIT
}

install_packages() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "end-to-end tests need these Debian packages, which are not installed:" >&2
		printf '  %s\n' "$@" >&2
		echo "hint: install them, or run this as root on a machine with apt-get" >&2
		exit 1
	fi
	echo "installing $*" >&2
	refuse_services
	apt-get update -qq >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

build() {
	mkdir -p "$bin"
	(
		cd ../..
		CGO_ENABLED=0 go build -o "$bin/" ./cmd/dct2notation ./internal/testing/kmstest/notation-kmstest
		CGO_ENABLED=0 go build -tags failpoint -o "$bin/dct2notation-failpoint" ./cmd/dct2notation
		CGO_ENABLED=1 go build -C cmd/notation-pkcs11 -o "$bin/" .
		CGO_ENABLED=0 go build -C cmd/notation-awskms -o "$bin/" .
	)
	CGO_ENABLED=0 go build -o "$bin/" ./ledgerload
	CGO_ENABLED=0 GOBIN=$bin go install tool
}

mapfile -t packages < <(missing)
if [ "${#packages[@]}" -gt 0 ]; then
	install_packages "${packages[@]}"
fi
mapfile -t packages < <(missing)
if [ "${#packages[@]}" -gt 0 ]; then
	echo "still missing after the installation: ${packages[*]}" >&2
	exit 1
fi
build
# What docker trusts is compared where there is a docker command that knows trust: 28 is the
# last to look at it when it pulls. It needs no daemon.
if docker trust inspect --help 2>/dev/null | grep -q 'docker trust inspect IMAGE' &&
	docker pull --help 2>/dev/null | grep -q disable-content-trust; then
	export DCT2NOTATION_E2E_DOCKER=yes
else
	export DCT2NOTATION_E2E_DOCKER=no
fi
status=0
# buildah's containers need a mount namespace, and no daemon.
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
	export DCT2NOTATION_E2E_IMAGE=yes
else
	export DCT2NOTATION_E2E_IMAGE=no
fi
export DCT2NOTATION_E2E_BIN=$bin
go list ./... | grep -v '/browser$' | xargs go test -count=1 -timeout 15m "$@" || status=$?
# By themselves, since they measure how long a page takes; the figures are shown.
(cd browser && go test -count=1 -timeout 15m "$@") || status=$?
# What verify says beside what the notation and docker commands say, kind by kind.
(cd ../.. && CGO_ENABLED=0 go test -count=1 -run VerdictsBesideTheRealTools ./cmd/dct2notation/command) || status=$?
# 5,000 damaged ledgers are too many for the race detector of the unit tests.
if [ $# = 0 ]; then
	(cd ../.. && DCT2NOTATION_STATE_TEST_FULL=damage CGO_ENABLED=0 go test -count=1 -run Damage ./state) || status=$?
fi
if [ "$DCT2NOTATION_E2E_DOCKER" = no ]; then
	echo "LEFT OUT: no docker command up to version 28 is installed, so what docker trusts was not" >&2
	echo "compared; what the notary command says was" >&2
fi
if [ "$DCT2NOTATION_E2E_IMAGE" = no ]; then
	echo "LEFT OUT: this user may not make mounts, so the container image was neither built nor run" >&2
fi
exit "$status"
