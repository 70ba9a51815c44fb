// Package hostfile is what the modules that look after files share: owners and modes, a whole new file that is compared,
// staged, validated and moved into place, and snapshots that put back what was there. It acts through executor.Host alone.
package hostfile
