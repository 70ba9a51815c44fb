#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME, one after another; a target that fails does not keep the others from
# their turn. FUZZONLY, a regular expression over "folder Target", runs those alone.
set -eu
list=$(grep -rHoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sed -E 's|^(.*)/[^/]*_test\.go:func (.*)$|\1 \2|' | sort)
failed=""
ran=0
while read -r dir target; do
    echo "$dir $target" | grep -qE "${FUZZONLY:-.}" || continue
    echo "== $dir $target"
    # An interesting input of the formatter is long: minimizing it would take most of the time.
    minimize=""
    [ "$target" != FuzzFormat ] || minimize="-fuzzminimizetime 1x"
    # shellcheck disable=SC2086  # nothing, or two words
    "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" $minimize "$dir" || failed="$failed $dir:$target"
    ran=$((ran + 1))
done <<EOF
$list
EOF
echo "fuzz: $ran targets, $FUZZTIME each"
[ "$ran" -gt 0 ] || { echo "fuzz: no target was found" >&2; exit 1; }
[ -z "$failed" ] || { echo "fuzz: failed:$failed" >&2; exit 1; }
