package simulation

// Replay are the changes to the Go runtime with which a run of whole nodes can be repeated exactly, on one processor and without
// garbage collection: whatever the runtime draws at random within a bubble comes from one stream that begins with the same number
// at each start, and nothing is interrupted by the clock. They are made to the Go that is installed, when it is built with the
// overlay, and fail when a spot is not where it was. No copy of the runtime is kept.
func Replay() Mutant {
	return Mutant{"replay", "a run of whole nodes can be repeated", []Edit{
		{"runtime/rand.go", "\tglobalRand.state.Init(*seed)\n", "\t*seed = [32]byte{1}\n\tglobalRand.state.Init(*seed)\n"},
		{"runtime/rand.go", "func rand() uint64 {\n", `func rand() uint64 {
	if getg().bubble != nil {
		return replayRand()
	}
`},
		{"runtime/rand.go", "//go:linkname maps_rand internal/runtime/maps.rand\n", `var replayState uint64

// replayRand is SplitMix64.
//
//go:nosplit
func replayRand() uint64 {
	replayState += 0x9e3779b97f4a7c15
	x := replayState
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

//go:linkname maps_rand internal/runtime/maps.rand
`},
		{"runtime/select.go", "\t\tj := cheaprandn(uint32(norder + 1))\n", `		j := cheaprandn(uint32(norder + 1))
		if gp.bubble != nil {
			j = uint32(replayRand() % uint64(norder+1))
		}
`},
		{"runtime/sema.go", "\ts.ticket = cheaprand() | 1\n", `	s.ticket = cheaprand() | 1
	if getg().bubble != nil {
		s.ticket = uint32(replayRand()) | 1
	}
`},
		{"runtime/time.go", "\t\t\tt.rand = cheaprand()\n", "\t\t\tt.rand = uint32(replayRand())\n"},
		{"internal/sync/mutex.go", "starvationThresholdNs = 1e6", "starvationThresholdNs = 1 << 62"}, // it is of the real clock
		{"runtime/proc.go", "const forcePreemptNS = 10 * 1000 * 1000 // 10ms", "const forcePreemptNS = 1 << 60"},
		{"runtime/proc.go", "pd.syscallwhen+10*1000*1000 > now {", "pd.syscallwhen+1000*1000*1000 > now || now < pd.syscallwhen+1000*1000*1000 {"},
	}}
}
