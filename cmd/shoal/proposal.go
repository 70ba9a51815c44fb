package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"slices"

	"shoal/internal/codec"
	"shoal/internal/ownfile"
	"shoal/membership"
)

// A proposal is a record on its way from operator to operator, each of whom adds a signature. In a file it is PEM, so that it goes
// through mail; it holds no secret.
const proposalType = "SHOAL PROPOSAL"

// maxProposal bounds the bytes of a file of proposals.
const maxProposal = 1 << 20

func readProposals(paths ...string) (records []membership.Signed, err error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, badInput("%v", err)
		}
		if len(data) > maxProposal {
			return nil, badInput("%s is too large for a proposal", path)
		}
		found := false
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			var s membership.Signed
			if err := codec.Unmarshal(block.Bytes, &s); err != nil || block.Type != proposalType {
				return nil, badInput("%s is no proposal (%v)", path, err)
			}
			found, records = true, mergeProposal(records, s)
		}
		if !found {
			return nil, badInput("%s is no proposal", path)
		}
	}
	return records, nil
}

func mergeProposal(records []membership.Signed, s membership.Signed) []membership.Signed {
	for i, r := range records {
		if r.Domain == s.Domain && bytes.Equal(r.Body, s.Body) {
			records[i] = r.Merged(s)
			return records
		}
	}
	return append(records, s)
}

func writeProposals(path string, records []membership.Signed) error {
	var out bytes.Buffer
	for _, r := range records {
		data, err := codec.Marshal(r)
		if err != nil {
			return err
		}
		if err := pem.Encode(&out, &pem.Block{Type: proposalType, Bytes: data}); err != nil {
			return err
		}
	}
	return ownfile.Write(path, out.Bytes(), 0o644)
}

// signersOf checks the signatures that a proposal has so far.
func signersOf(s membership.Signed) ([]ed25519.PublicKey, error) {
	if len(s.Signatures) == 0 {
		return nil, nil
	}
	var body codec.Raw
	keys, err := s.Open(s.Domain, &body)
	if err != nil {
		return nil, refused("%v", err)
	}
	return keys, nil
}

// refused is an error of the trust rules.
func refused(format string, args ...any) error {
	return &exitError{exitRefused, fmt.Errorf(format, args...)}
}

func among(keys []ed25519.PublicKey, key ed25519.PublicKey) bool {
	return slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(key) })
}
