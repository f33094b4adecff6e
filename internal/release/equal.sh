#!/bin/sh
# Shows that a release can be built again: it builds the current commit in two fresh clones in two folders, and
# ends well if SHA256SUMS, which is over all else, is the same in both. Takes some minutes.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for clone in one another/and/deeper; do
	mkdir -p "$work/$clone"
	git clone -q "$root" "$work/$clone"
	make -C "$work/$clone" release >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
done
(cd "$work/another/and/deeper/dist" && sha256sum --check --quiet SHA256SUMS)
diff "$work/one/dist/SHA256SUMS" "$work/another/and/deeper/dist/SHA256SUMS"
echo "both builds are equal:"
cat "$work/one/dist/SHA256SUMS"
