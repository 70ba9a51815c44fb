#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME, one after another.
set -eu
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | while read -r file; do
    dir=$(dirname "$file")
    grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
        echo "== $dir $target"
        "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$dir"
    done
done
