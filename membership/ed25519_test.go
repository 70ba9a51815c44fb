package membership

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"testing"
)

// smallOrder are the encodings of all points whose order divides 8, also those that are not canonical: what verifiers differ about
// (Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs", 2020).
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func wantAlike(t *testing.T, key ed25519.PublicKey, message, sig []byte) (good bool) {
	t.Helper()
	good = ed25519.Verify(key, message, sig)
	if got := verifySignature(key, message, sig); got != good {
		t.Errorf("key %x, message %x, signature %x: %v, the standard library says %v", []byte(key), message, sig, got, good)
	}
	return good
}

// addOrder makes another encoding of the number in a signature, which must not be taken for it.
func addOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := bytes.Clone(sig[32:])
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	for i, j := 0, len(sum)-1; i < j; i, j = i+1, j-1 {
		sum[i], sum[j] = sum[j], sum[i]
	}
	return append(bytes.Clone(sig[:32]), sum...)
}

// TestVerifiesAsTheStandardLibrary: two members that see one signature never differ about it, whatever version verifies it.
func TestVerifiesAsTheStandardLibrary(t *testing.T) {
	var points [][]byte
	for _, s := range smallOrder {
		p, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, p)
	}
	good := 0
	for _, a := range points {
		for _, r := range points {
			for m := range 16 { // the hash decides which of them hold
				if wantAlike(t, a, []byte{byte(m)}, append(bytes.Clone(r), make([]byte, 32)...)) {
					good++
				}
			}
		}
	}
	if good == 0 {
		t.Error("no point of a small order signs anything: these are not the points")
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		seed := make([]byte, ed25519.SeedSize)
		for i := range seed {
			seed[i] = byte(dice.Uint32())
		}
		private := ed25519.NewKeyFromSeed(seed)
		key := private.Public().(ed25519.PublicKey)
		message := seed[:dice.IntN(len(seed))]
		sig := ed25519.Sign(private, message)
		if !wantAlike(t, key, message, sig) {
			t.Fatal("a good signature is refused")
		}
		if wantAlike(t, key, message, addOrder(sig)) {
			t.Error("a signature has two forms")
		}
		wantAlike(t, key, append(message, 0), sig)
		wantAlike(t, key, message, sig[:63])
		wantAlike(t, key, message, append(bytes.Clone(sig), 0))
		flipped := bytes.Clone(sig)
		flipped[dice.IntN(len(sig))] ^= 1 << dice.IntN(8)
		wantAlike(t, key, message, flipped)
		other := bytes.Clone(key)
		other[dice.IntN(len(key))] ^= 1 << dice.IntN(8)
		wantAlike(t, other, message, sig)
		wantAlike(t, key, message, append(bytes.Clone(points[dice.IntN(len(points))]), sig[32:]...))
		wantAlike(t, points[dice.IntN(len(points))], message, sig)
	}
}

// FuzzVerify looks for a signature that one takes and the other does not.
func FuzzVerify(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	f.Add([]byte(private.Public().(ed25519.PublicKey)), []byte("message"), ed25519.Sign(private, []byte("message")))
	f.Add(make([]byte, 32), []byte{}, make([]byte, 64))
	f.Fuzz(func(t *testing.T, key, message, sig []byte) {
		if len(key) == ed25519.PublicKeySize {
			wantAlike(t, key, message, sig)
		}
	})
}
