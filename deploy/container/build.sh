#!/bin/sh
# Builds the container image with docker, podman or buildah, whichever is there first.
#
#   deploy/container/build.sh [BASE [TAG]]
#
# BASE is the image to build on (scratch), TAG what the image is called (dct2notation). The certificates are those
# of this machine: SSL_CERT_FILE, or where Linux keeps them. With BUILDER and BUILD_FLAGS another program builds, or
# the same with other flags: BUILDER=buildah BUILD_FLAGS='--isolation chroot'.
set -eu
base=${1:-scratch} tag=${2:-dct2notation}
root=$(cd "$(dirname "$0")/../.." && pwd)

certificates=
for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
	if [ -n "$file" ] && [ -r "$file" ]; then
		certificates=$file
		break
	fi
done
if [ -z "$certificates" ]; then
	echo "no certificates of public authorities are on this machine" >&2
	echo "hint: install ca-certificates, or name a file with SSL_CERT_FILE" >&2
	exit 1
fi

builder=${BUILDER:-}
for program in docker podman buildah; do
	if [ -z "$builder" ] && command -v "$program" >/dev/null; then
		# The docker command is of no use without its daemon; the others need none.
		if [ "$program" != docker ] || docker info >/dev/null 2>&1; then
			builder=$program
		fi
	fi
done
if [ -z "$builder" ]; then
	echo "no program that builds images is here: neither docker with its daemon nor podman nor buildah" >&2
	echo "hint: install one of them" >&2
	exit 1
fi

version=$("$root/internal/release/version.sh")
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$certificates" "$context/ca-certificates.crt"
# Files that any user of the image may read, whatever the umask here is.
chmod 644 "$context/ca-certificates.crt"
# The program is for Linux, also where the image is built on another system.
CGO_ENABLED=0 GOOS=linux go -C "$root" build -trimpath \
	-ldflags "-s -w -X github.com/dct2notation/dct2notation/cmd/dct2notation/internal/cli.version=$version" \
	-o "$context/dct2notation" ./cmd/dct2notation
chmod 755 "$context/dct2notation"
mkdir "$context/work"
# BUILD_FLAGS are several words.
# shellcheck disable=SC2086
"$builder" build ${BUILD_FLAGS:-} --build-arg "BASE=$base" --build-arg "VERSION=$version" \
	--file "$root/deploy/container/Containerfile" --tag "$tag" "$context"
