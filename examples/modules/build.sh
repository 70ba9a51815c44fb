#!/bin/sh
# Builds the example modules into a copy of their tree: build.sh FOLDER
set -eu
out=${1:?build.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
cp -R "$here/tree/." "$out/"
(cd "$here/hosts" && GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags "-s -w" -o "$out/modules/hosts.wasm" .)
clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -o "$out/modules/banner.wasm" "$here/banner/banner.c"
hash() { sha256sum "$1" | cut -d' ' -f1; }
sed -e "s/@HOSTS@/$(hash "$out/modules/hosts.wasm")/" -e "s/@BANNER@/$(hash "$out/modules/banner.wasm")/" "$out/site.yaml.in" >"$out/site.yaml"
rm "$out/site.yaml.in"
