#!/bin/sh
# Runs every fuzz target of the module, one after another: FUZZTIME each, or, where that is not set, so long that all take
# FUZZTOTAL seconds together, without what it takes to build them. A target that fails does not keep the others from their turn.
# FUZZONLY, a regular expression over "folder Target", runs those alone. No target may have more than FUZZMEM KiB of memory: one that
# can be made to ask for more crashes, and has failed.
set -eu
list=$(grep -rHoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sed -E 's|^(.*)/[^/]*_test\.go:func (.*)$|\1 \2|' | sort | grep -E "${FUZZONLY:-.}" || true)
count=$(printf '%s\n' "$list" | grep -c . || true)
[ "$count" -gt 0 ] || { echo "fuzz: no target was found" >&2; exit 1; }
total=${FUZZTOTAL:-600}
each=${FUZZTIME:-$((total / count > 1 ? total / count : 1))s}
ulimit -d "${FUZZMEM:-2097152}"
failed=""
ran=0
while read -r dir target; do
    echo "== $dir $target"
    # An interesting input of the formatter is long: minimizing it would take most of the time.
    minimize="-fuzzminimizetime 2s"
    [ "$target" != FuzzFormat ] || minimize="-fuzzminimizetime 1x"
    # shellcheck disable=SC2086  # two words
    "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$each" $minimize "$dir" || failed="$failed $dir:$target"
    ran=$((ran + 1))
done <<END
$list
END
echo "fuzz: $ran targets, $each each"
[ -z "$failed" ] || { echo "fuzz: failed:$failed" >&2; exit 1; }
