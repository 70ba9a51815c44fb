package ssh_test

import (
	"errors"
	"testing"

	"shoal/executor"
	"shoal/executor/ssh"
	"shoal/internal/sshdtest"
)

// asker answers sudo and counts.
type asker struct {
	answer string
	err    error
	asked  int
}

func (a *asker) ask() ([]byte, error) {
	a.asked++
	return []byte(a.answer), a.err
}

func TestSudo(t *testing.T) {
	user := func(t *testing.T, sudoers string) *ssh.Machine {
		s := sshdtest.Start(t, sshdtest.WithUser(t, sshdtest.User+" ALL=(ALL) "+sudoers, ""))
		return machineAt(t, s, sshdtest.User+"@"+s.Addr())
	}
	isRoot := func(t *testing.T, m *ssh.Machine) {
		t.Helper()
		h := host(t, m, "", t.TempDir())
		if uid, gid := h.Self(); uid != 0 || gid != 0 {
			t.Errorf("uid %d, gid %d", uid, gid)
		}
		// What is given to a command comes to it, and the password does not.
		got, err := h.Run(t.Context(), executor.Command{Argv: []string{"sh", "-c", "id -u; cat"}, Stdin: []byte("given")})
		if err != nil || string(got.Stdout) != "0\ngiven" {
			t.Errorf("%q %q, %v", got.Stdout, got.Stderr, err)
		}
		if data, err := h.ReadFile("/etc/shadow"); err != nil || len(data) == 0 {
			t.Errorf("over SFTP: %v", err)
		}
	}
	t.Run("no password", func(t *testing.T) {
		a := &asker{answer: "not needed"}
		m, err := user(t, "NOPASSWD: ALL").Sudo(t.Context(), a.ask)
		if err != nil || a.asked != 0 {
			t.Fatalf("asked %d times, %v", a.asked, err)
		}
		isRoot(t, m)
	})
	t.Run("password", func(t *testing.T) {
		a := &asker{answer: sshdtest.Password}
		m, err := user(t, "ALL").Sudo(t.Context(), a.ask)
		if err != nil || a.asked == 0 {
			t.Fatalf("asked %d times, %v", a.asked, err)
		}
		isRoot(t, m)
	})
	for name, a := range map[string]*asker{"wrong password": {answer: "wrong"}, "no answer": {err: errors.New("no")}} {
		t.Run(name, func(t *testing.T) {
			if _, err := user(t, "ALL").Sudo(t.Context(), a.ask); !errors.Is(err, ssh.ErrSudo) || a.asked != 1 {
				t.Errorf("asked %d times, %v", a.asked, err)
			}
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		if _, err := user(t, "ALL").Sudo(t.Context(), nil); !errors.Is(err, ssh.ErrSudo) {
			t.Errorf("%v", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		a := &asker{answer: sshdtest.Password}
		if _, err := user(t, "/bin/ls").Sudo(t.Context(), a.ask); err == nil {
			t.Error("it became root")
		}
	})
}
