#!/bin/sh
# Writes the bill of materials of a program (CycloneDX, JSON): the modules it was built from, as they stand in
# the program itself. Neither a time nor a serial number is in it, so that two builds have equal ones.
#
#   internal/release/sbom.sh PROGRAM FILE VERSION
set -eu
program=$1 document=$2 version=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
# The document has the sum of the tool that made it: without -trimpath that would be another on each machine.
cyclonedx=$(GOFLAGS=-trimpath go -C "$root/internal/release/tools" tool -n cyclonedx-gomod)
"$cyclonedx" bin -json -std -noserial -notimestamp -version "$version" -output "$document" "$program"
