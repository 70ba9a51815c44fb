package membership

import (
	"testing"

	"shoal/internal/bounded"
	"shoal/internal/codec"
)

// FuzzProposedTicket: operators look at it before they sign.
func FuzzProposedTicket(f *testing.F) {
	c := newChain(f, "mesh", 1, "alice")
	unsigned, _, err := ProposeTicket(zeros{}, c, TicketSpec{Tags: map[string]string{"role": "web"}, Expires: now})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(unsigned.Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		bounded.Run(t, 8*bounded.MiB+100*uint64(len(body)), func() {
			spec, _, err := ProposedTicket(Signed{Domain: DomainTicket, Body: body})
			if err == nil && (len(spec.Tags) > MaxTags || spec.Uses < 1 || spec.Uses > MaxUses) {
				t.Errorf("out of limits: %+v", spec)
			}
			var chain []Signed
			if codec.Unmarshal(body, &chain) == nil {
				_, _ = RestoreChain(chain)
			}
		})
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
