package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"shoal/executor"
	"shoal/internal/accountdb"
)

// accountLockWait is how long to wait for another program that changes accounts, as lckpwdf(3) does.
const accountLockWait = 15 * time.Second

// accountFiles are the four files over there.
type accountFiles struct {
	machine *Machine
	files   *Files
}

func etc(name string) string { return "/etc/" + name }

// Stamps implements accountdb.Files, with one question.
func (a *accountFiles) Stamps() (all [4]executor.Stat, err error) {
	var names []string
	for _, name := range accountdb.Names {
		names = append(names, a.files.real(etc(name)))
	}
	stats, errs, err := a.files.lstats(names)
	if err != nil {
		return all, err
	}
	for i, err := range errs {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return all, err
		}
		all[i] = stats[i]
	}
	return all, nil
}

// Read implements accountdb.Files.
func (a *accountFiles) Read(name string) ([]byte, error) { return a.files.ReadFile(etc(name)) }

// accountLock takes what the tools of shadow take for each file: a link to a file that holds the number of a process that is
// alive. A shell has no way to the lock of lckpwdf(3), which is one of a process: who holds that one at the moment is waited
// for. The locks end with the connection, as the process does whose number they hold.
const accountLock = `e=%s; mkdir -p "$e" || exit 1; cd "$e" || exit 1; umask 077
who() { echo "busy pid $1 ($(cat "/proc/$1/comm" 2>/dev/null))"; free; exit 0; }
free() { for n in $held; do rm -f "$n.lock"; done; rm -f ".shoal-lock.$$"; }
printf %%s $$ >".shoal-lock.$$" || exit 1
for n in passwd group shadow gshadow; do
	if ! ln ".shoal-lock.$$" "$n.lock" 2>/dev/null; then
		p=$(tr -d '\0\n' <"$n.lock" 2>/dev/null)
		case "$p" in ""|*[!0-9]*) ;; *) [ -d "/proc/$p" ] && who "$p";; esac
		rm -f "$n.lock"; ln ".shoal-lock.$$" "$n.lock" 2>/dev/null || who "$p"
	fi
	held="$held $n"
done
if [ -e .pwd.lock ]; then
	d=$((0x$(stat -c %%D .pwd.lock)))
	i=$(printf '%%02x:%%02x:%%d' $((d>>8&0xfff)) $((d&0xff|d>>12&0xfff00)) "$(stat -c %%i .pwd.lock)")
	p=$(awk -v "i=$i" '$2 != "->" && $6 == i {print $5; exit}' /proc/locks 2>/dev/null)
	[ -z "$p" ] || who "$p"
fi
rm -f ".shoal-lock.$$"; trap free EXIT; trap "exit 1" HUP INT TERM; echo locked
cat >/dev/null`

// Lock implements accountdb.Files.
func (a *accountFiles) Lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, accountLockWait)
	defer cancel()
	for {
		unlock, holder, err := a.tryLock(ctx)
		if unlock != nil || err != nil {
			return unlock, err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("lock the accounts: another program holds them (%s): %w", holder, ctx.Err())
		case <-timer.C:
		}
	}
}

// tryLock takes it, or says who has it.
func (a *accountFiles) tryLock(ctx context.Context) (unlock func(), holder string, err error) {
	return a.machine.holdLock(ctx, fmt.Sprintf(accountLock, quote(a.files.real("/etc"))))
}

// Replace implements accountdb.Files.
func (a *accountFiles) Replace(names []string, data func(name string) []byte) error {
	var staged []string
	drop := func(err error) error {
		for _, name := range staged {
			err = errors.Join(err, a.files.Remove(name))
		}
		return err
	}
	for _, name := range names {
		meta, err := a.meta(etc(name))
		if err != nil {
			return drop(err)
		}
		at, err := a.files.Stage(etc(name), data(name), meta)
		if err != nil {
			return drop(err)
		}
		staged = append(staged, at)
	}
	if err := a.sync(staged); err != nil {
		return drop(err)
	}
	for i, name := range names {
		if err := a.files.Rename(staged[i], etc(name)); err != nil {
			return err
		}
	}
	return a.sync([]string{"/etc"})
}

// sync makes some files durable, or a folder and its names.
func (a *accountFiles) sync(names []string) error {
	reals := make([]string, len(names))
	for i, name := range names {
		reals[i] = a.files.real(name)
	}
	_, err := a.files.talk.must("sync " + quoteAll(reals) + " 2>/dev/null || sync")
	return err
}

// meta is what the file has that is there.
func (a *accountFiles) meta(name string) (executor.Meta, error) {
	uid, gid := a.files.Self()
	st, err := a.files.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return executor.Meta{Mode: accountdb.NewMode(path.Base(name)), UID: uid, GID: gid}, nil
	case err != nil:
		return executor.Meta{}, err
	case !st.Mode.IsRegular():
		return executor.Meta{}, fmt.Errorf("replace %s: it is %s, not a file", name, st.Mode.Type())
	}
	attrs, err := a.files.Xattrs(name)
	return executor.Meta{Mode: st.Mode, UID: st.UID, GID: st.GID, Xattrs: attrs}, err
}

// holdLock runs a script that says "locked" and holds a lock until its standard input ends, or says "busy", and who is.
// unlock nil: it is busy.
func (m *Machine) holdLock(ctx context.Context, script string) (unlock func(), holder string, err error) {
	p, err := m.start(ctx, script)
	if err != nil {
		return nil, "", fmt.Errorf("lock: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = p.session.Close() })
	line, err := p.stdout.ReadSlice('\n')
	if !stop() {
		return nil, "", context.Cause(ctx)
	}
	word, holder, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	switch {
	case err == nil && word == "locked":
		return func() {
			_ = p.stdin.Close()
			_, _ = io.Copy(io.Discard, p.stdout)
			_, _ = p.wait() // the lock is free when its holder has ended, however
		}, "", nil
	case err == nil && word == "busy":
		_, err = p.wait()
		return nil, holder, err
	}
	_, waitErr := p.wait()
	return nil, "", fmt.Errorf("lock: %w: %s", errors.Join(err, waitErr), strings.TrimSpace(p.stderr.String()))
}
