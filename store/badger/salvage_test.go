package badger

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestThePrivateFolderStays: what whoever opens the store keeps beside it is moved aside with no damage.
func TestThePrivateFolderStays(t *testing.T) {
	dir := t.TempDir()
	private := filepath.Join(dir, PrivateDir, "keys")
	if err := errors.Join(os.Mkdir(filepath.Dir(private), 0o700), os.WriteFile(private, []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "000001.sst"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := quarantine(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(private); err != nil || is(dir, "000001.sst") {
		t.Errorf("after it: %v", err)
	}
}
