package mesh

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"shoal/membership"
	"shoal/store"
)

// A damaged record of the roster does not keep a node down: all that a roster begins with is the genesis.
func TestSavedRosterLeavesOutWhatIsDamaged(t *testing.T) {
	genesis, err := membership.NewGenesis(make([]byte, 32), 1, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	good := pair(t, keyRoster+"genesis", genesis)
	for name, value := range map[string][]byte{"cut off": nil, "of something else": []byte("not cbor")} {
		bad := store.Pair{Key: []byte(keyRoster + "bad"), Value: value}
		if roster, ok, err := SavedRoster([]store.Pair{bad, good}); err != nil || !ok || roster == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	later := genesis
	later.Body = append([]byte{}, genesis.Body...)
	later.Body[len(later.Body)-1] ^= 1
	if _, _, err := SavedRoster([]store.Pair{pair(t, keyRoster+"genesis", later)}); err == nil || !strings.Contains(err.Error(), "ticket") {
		t.Errorf("a genesis that does not verify: %v", err)
	}
}
