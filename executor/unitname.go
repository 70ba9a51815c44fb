package executor

import (
	"slices"
	"strings"
)

// unitTypes are the kinds of unit of systemd.unit(5).
var unitTypes = []string{"service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"}

// UnitName is the full name of a unit: one without a type is a service.
func UnitName(name string) string {
	if i := strings.LastIndexByte(name, '.'); i > 0 && slices.Contains(unitTypes, name[i+1:]) {
		return name
	}
	return name + ".service"
}
