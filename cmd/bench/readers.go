package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"shoal/internal/hostile"
)

// benchReaders prints which inputs of 1 MiB, of those that are made to cost the readers of a tree much, take longest.
func benchReaders(context.Context, options) error {
	title("reading 1 MiB that is made to cost as much as it can, processor time, median of 3")
	type reading struct {
		name string
		took time.Duration
	}
	var all []reading
	for name, read := range hostile.Readings(functions()) {
		took, err := medians(3, work{do: func() error { _ = read(); return nil }, clock: ownCPU}) // that it is refused is well
		if err != nil {
			return err
		}
		all = append(all, reading{name, took[0]})
	}
	slices.SortFunc(all, func(a, b reading) int { return int(b.took - a.took) })
	for i, r := range all[:min(len(all), 5)] {
		row(fmt.Sprintf("number %d of %d: %s", i+1, len(all), r.name), ms(r.took), "aim: at most 1 s")
	}
	return nil
}
