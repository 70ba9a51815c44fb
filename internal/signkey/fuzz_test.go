package signkey_test

import (
	"testing"

	"shoal/internal/bounded"
	"shoal/internal/signkey"
)

// FuzzKeys: a key comes from a file, a public one from a person or a proposal.
func FuzzKeys(f *testing.F) {
	f.Add("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n")
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f x")
	f.Add("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	f.Fuzz(func(t *testing.T, text string) {
		bounded.Run(t, 8*bounded.MiB+100*uint64(len(text)), func() {
			if key, err := signkey.Decode([]byte(text)); err == nil && len(key) != 64 {
				t.Errorf("a key of %d bytes", len(key))
			}
			if key, err := signkey.ParsePublic(text); err == nil && len(key) != 32 {
				t.Errorf("a public key of %d bytes", len(key))
			}
		})
	})
}
