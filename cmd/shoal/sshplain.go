package main

import (
	"context"
	"errors"

	"shoal/executor/ssh"
)

func (r *sshRun) plainHand(ctx context.Context, as *ssh.Machine) (hand, error) {
	return nil, errors.New("not yet")
}
