#!/bin/sh
# Build the simulation of whole nodes with a Go runtime that repeats itself, and see that it does: two runs of each of some
# scenarios send the same at the same times, and another seed sends something else.
set -eu
go="${GO:-go}"
overlay="$(mktemp -d)"
trap 'rm -rf "$overlay"' EXIT
file="$($go run ./cmd/simulate -replay-overlay "$overlay")"
GOEXPERIMENT=norandomizedheapbase64 $go build -tags fastverify -overlay "$file" -o bin/shoal-simulate-exact ./cmd/shoal-simulate

trace() { bin/shoal-simulate-exact --exact "$@" | sed -n 's/^trace: *//p'; }

for scenario in minority-stages two-pushes-at-once zone-outage; do
	at="simulation/bubble/testdata/$scenario.scenario"
	one="$(trace - "$at")"
	two="$(trace - "$at")"
	sed "1a seed 4711" "$at" >"$overlay/other.scenario"
	other="$(trace - "$overlay/other.scenario")"
	echo "$scenario: $one, again $two, with another seed $other"
	if [ -z "$one" ] || [ "$one" != "$two" ]; then
		echo "two runs of one seed differ" >&2
		exit 1
	fi
	if [ "$one" = "$other" ]; then
		echo "two seeds do not differ: the trace says nothing" >&2
		exit 1
	fi
done
