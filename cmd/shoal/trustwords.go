package main

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"shoal/internal/codec"
	"shoal/internal/signkey"
	"shoal/membership"
	"shoal/store"
)

// words says what a record does, as a person must read it before they sign.
func words(s membership.Signed) (text string, mesh membership.MeshID, err error) {
	switch s.Domain {
	case membership.DomainStatement:
		st, err := statementOf(s)
		if err != nil {
			return "", mesh, err
		}
		return statementWords(st), st.Mesh, nil
	case membership.DomainTicket:
		spec, mesh, err := membership.ProposedTicket(s)
		machines := "one machine"
		if spec.Uses != 1 {
			machines = fmt.Sprintf("%d machines", spec.Uses)
		}
		return fmt.Sprintf("a ticket: %s may join until %s with the tags %s%s",
			machines, spec.Expires.Format(time.RFC3339), tagText(spec.Tags), zoneText(spec.Zone)), mesh, err
	case membership.DomainRevocation:
		var v membership.Revocation
		err := codec.Unmarshal(s.Body, &v)
		why := ""
		if v.Why != "" {
			why = ": " + v.Why
		}
		return fmt.Sprintf("EVICT node %s for good%s", v.Node, why), v.Mesh, err
	case membership.DomainGrant:
		var g membership.Grant
		err := codec.Unmarshal(s.Body, &g)
		return fmt.Sprintf("node %s is a member, as %s with the tags %s%s", g.Node, g.Name, tagText(g.Tags), zoneText(g.Zone)) + endText(g.NotAfter), g.Mesh, err
	case membership.DomainRecovery:
		var r store.Recovery
		if err := codec.Unmarshal(s.Body, &r); err != nil {
			return "", mesh, err
		}
		return recoveryWords(r), r.Mesh, nil
	}
	return "", mesh, badInput("a record of kind %q is not for operators to sign", s.Domain)
}

func endText(notAfter int64) string {
	if notAfter == 0 {
		return ""
	}
	return " until " + time.Unix(notAfter, 0).UTC().Format(time.RFC3339)
}

func zoneText(zone string) string {
	if zone == "" {
		return ""
	}
	return " in zone " + zone
}

func statementOf(s membership.Signed) (st membership.Statement, err error) {
	if err := codec.Unmarshal(s.Body, &st); err != nil {
		return st, badInput("the statement cannot be read: %v", err)
	}
	return st, nil
}

func statementWords(st membership.Statement) string {
	key := ""
	if len(st.Key) == ed25519.PublicKeySize {
		key = signkey.Fingerprint(st.Key)
	}
	switch st.Kind {
	case membership.Genesis:
		var keys []string
		for _, k := range st.Operators {
			keys = append(keys, "\n      "+signkey.Fingerprint(k))
		}
		return fmt.Sprintf("A NEW CLUSTER, ruled by any %d of these %d operators:%s", st.Threshold, len(st.Operators), strings.Join(keys, ""))
	case membership.AddOperator:
		return fmt.Sprintf("height %d: ADD OPERATOR %s", st.Height, key)
	case membership.RemoveOperator:
		return fmt.Sprintf("height %d: REMOVE OPERATOR %s", st.Height, key)
	case membership.GrantPublisher:
		envs := strings.Join(st.Envs, ", ")
		if slices.Contains(st.Envs, membership.AllEnvs) {
			envs = "EVERY environment"
		}
		return fmt.Sprintf("height %d: %s may publish %s", st.Height, key, envs)
	case membership.RevokePublisher:
		return fmt.Sprintf("height %d: %s may publish NOTHING any more", st.Height, key)
	}
	return fmt.Sprintf("height %d: %q, which this version does not know", st.Height, st.Kind)
}

func recoveryWords(r store.Recovery) string {
	var seats []string
	for _, s := range r.Seats {
		seats = append(seats, s.Node.Short())
	}
	from := "nothing"
	if len(r.Value) > 0 {
		from = "a version that cannot be read"
		var v store.HeadValue
		if codec.Unmarshal(r.Value, &v) == nil {
			from = fmt.Sprintf("version %d (%s)", v.Version, v.Hash().Short())
		}
	}
	return fmt.Sprintf("RECOVER the head of %s: era %d goes on from %s, decided by %s", r.Env, r.Era, from, strings.Join(seats, ", "))
}
