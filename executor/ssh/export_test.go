package ssh

import "context"

// TryAccountLock takes the lock of the account tools once, or says who has it.
func (h *Host) TryAccountLock(ctx context.Context) (unlock func(), holder string, err error) {
	return (&accountFiles{machine: h.Data.machine, files: h.Files}).tryLock(ctx)
}
