#!/usr/bin/env bash
# Measures dct2notation beside the loops that it replaces, by the table in bench/parts.go.
# Needs Go, xargs and Linux (it reads /proc); no root, no packages, no network but the
# download of modules. The part softhsm is left out without SoftHSM and a C compiler. The figures are on stdout:
# local-kms logs each request to stderr, and cannot be told not to.
#
#   internal/e2e/bench.sh [-only throughput|memory|trust|verify|local|limits|softhsm|localkms|requests|ledger]
#                         [-workers 1,4,16,32] [-items 10000] [-repositories 1500]
#   internal/e2e/bench.sh -only many [-many 100000]    # takes ten minutes
#   internal/e2e/bench.sh -only many-verify [-many 100000]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bin=$PWD/.bin

if [ "$(uname -s)" != Linux ] || ! command -v xargs >/dev/null; then
	echo "the benchmark needs Linux and xargs" >&2
	exit 1
fi

mkdir -p "$bin"
export CGO_ENABLED=0
(
	cd ../..
	go build -C cmd/notation-awskms -trimpath -o "$bin/" .
	go build -trimpath -ldflags '-s -w' -o "$bin/" ./cmd/dct2notation ./internal/testing/kmstest/notation-kmstest
)
# notation and notary at the versions of go.mod's tool lines.
go build -trimpath -o "$bin/" ./ledgerload github.com/notaryproject/notation/cmd/notation github.com/theupdateframework/notary/cmd/notary
if command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ]; then
	export CGO_ENABLED=1
	go build -C ../../cmd/notation-pkcs11 -trimpath -o "$bin/" .
fi
go build -trimpath -o "$bin/" ./bench
exec "$bin/bench" -bin "$bin" "$@"
