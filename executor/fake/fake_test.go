package fake_test

import (
	"testing"

	"shoal/executor"
	"shoal/executor/fake"
	"shoal/executor/hosttest"
)

func TestHost(t *testing.T) {
	hosttest.Run(t, func(*testing.T) executor.Host { return fake.New() })
}
