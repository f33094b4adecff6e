#!/bin/sh
# Writes the bill of materials of a program (CycloneDX, JSON): the modules it was built from, as they stand in
# the program itself. Neither a time nor a serial number is in it, so that two builds have equal ones.
#
#   internal/release/sbom.sh PROGRAM FILE
set -eu
program=$1 document=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
cyclonedx=$(go -C "$root/internal/release/tools" tool -n cyclonedx-gomod)
"$cyclonedx" bin -json -noserial -output "$document" "$program"
