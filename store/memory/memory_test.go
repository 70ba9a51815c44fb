package memory_test

import (
	"testing"

	"shoal/store"
	"shoal/store/kvtest"
	"shoal/store/memory"
)

func TestKV(t *testing.T) {
	kvtest.Run(t, func(*testing.T) store.KV { return memory.New() })
}

func TestVolatile(t *testing.T) {
	if !memory.New().Volatile() {
		t.Error("memory claims to survive the process")
	}
}
