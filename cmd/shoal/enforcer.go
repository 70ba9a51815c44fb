package main

import (
	"context"
	"runtime/debug"

	"shoal/executor"
	"shoal/internal/enforcer"
	"shoal/internal/keyring"
	"shoal/mesh"
	"shoal/mesh/node"
	"shoal/secrets/agebox"
	"shoal/states"
)

// lazyCollector is an enforcer during whose runs the collector lets memory grow.
type lazyCollector struct{ *enforcer.Enforcer }

func (a *agent) enforcer() (node.Enforcer, error) {
	key, err := agebox.NewNodeKey(a.id.key)
	if err != nil {
		return nil, err
	}
	return lazyCollector{&enforcer.Enforcer{
		Keys:   keyring.New(keysDir(a.config.DataDir), key),
		Engine: a.machine.engine, Functions: functions(), Facts: a.facts,
		Watch: func(e *executor.Engine) {
			a.watcher.Watch(e.Managed())
			if a.units != nil { // else the machine has no systemd
				a.units.Watch(e.ManagedServices())
			}
		},
	}}, nil
}

// Enforce implements node.Enforcer.
func (l lazyCollector) Enforce(ctx context.Context, w node.Wanted) executor.Report {
	defer debug.SetGCPercent(debug.SetGCPercent(busyGrowth))
	return l.Enforcer.Enforce(ctx, w)
}

func fleetOf(members []mesh.MemberInfo) []states.Node { return enforcer.Fleet(members) }

func withFacts(granted, facts map[string]string) map[string]string {
	return enforcer.WithFacts(granted, facts)
}
