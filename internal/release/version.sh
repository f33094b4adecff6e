#!/bin/sh
# Prints what a build of this tree is called, the same for the program, packages and the image: the tag without its
# v, with what came after it; before the first tag 0.0.0 and the commit; without git, devel.
cd "$(dirname "$0")" || exit 1
if tag=$(git describe --tags --dirty --match 'v[0-9]*' 2>/dev/null); then
	echo "${tag#v}"
elif commit=$(git describe --always --dirty 2>/dev/null); then
	echo "0.0.0-g$commit"
else
	echo devel
fi
