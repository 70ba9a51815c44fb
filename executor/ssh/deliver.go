package ssh

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
)

// ErrCannotRun is the kind of error of a machine that does not take or does not run the program, although it may well be
// changed over SFTP.
var ErrCannotRun = errors.New("the program cannot run there")

// keptPrograms is how many versions of the program stay in the cache folder.
const keptPrograms = 3

// Binary is a program file of this side.
type Binary struct {
	Path string
	Hash string // hex of its sha256
	Size int64
	Arch string // as Go names it
}

// machines are the names that uname(1) has for what Go and ELF name otherwise.
var machines = []struct {
	arch  string
	elf   elf.Machine
	uname []string
}{
	{"amd64", elf.EM_X86_64, []string{"x86_64", "amd64"}},
	{"arm64", elf.EM_AARCH64, []string{"aarch64", "arm64"}},
	{"386", elf.EM_386, []string{"i386", "i486", "i586", "i686"}},
	{"arm", elf.EM_ARM, []string{"armv6l", "armv7l", "armv8l", "arm"}},
	{"riscv64", elf.EM_RISCV, []string{"riscv64"}},
	{"ppc64le", elf.EM_PPC64, []string{"ppc64le"}},
	{"s390x", elf.EM_S390, []string{"s390x"}},
	{"loong64", elf.EM_LOONGARCH, []string{"loongarch64"}},
}

// archOf is Go's name for what uname -m says.
func archOf(uname string) string {
	for _, m := range machines {
		for _, name := range m.uname {
			if name == uname {
				return m.arch
			}
		}
	}
	return uname
}

// OpenBinary reads what a program file is.
func OpenBinary(file string) (Binary, error) {
	f, err := os.Open(file)
	if err != nil {
		return Binary{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return Binary{}, err
	}
	b := Binary{Path: file, Hash: hex.EncodeToString(sum.Sum(nil)), Size: size}
	program, err := elf.NewFile(f)
	if err != nil {
		return Binary{}, fmt.Errorf("%s is no program of Linux: %w", file, err)
	}
	for _, m := range machines {
		if m.elf == program.Machine {
			b.Arch = m.arch
		}
	}
	if b.Arch == "" {
		return Binary{}, fmt.Errorf("%s is for a machine that is not known here (%s)", file, program.Machine)
	}
	return b, nil
}

// Deliver makes sure that one of the programs lies on the machine, in a cache folder that is for its user alone, and returns
// its name there. copying is told before one is copied. What a machine refuses is ErrCannotRun.
func (m *Machine) Deliver(ctx context.Context, programs []Binary, copying func(Binary)) (*Program, error) {
	arch, err := m.Arch(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range programs {
		if b.Arch != arch {
			continue
		}
		p, err := m.deliver(ctx, b, copying)
		if err != nil && !errors.Is(err, ErrLost) && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrCannotRun, err)
		}
		return p, err
	}
	return nil, fmt.Errorf("%w: the machine is %s and the program at hand is not: give one that is with --binary FILE", ErrCannotRun, arch)
}

// Arch is the machine's, as Go names it.
func (m *Machine) Arch(ctx context.Context) (string, error) {
	uname, err := m.output(ctx, "uname -m")
	if err != nil {
		return "", fmt.Errorf("ask for the architecture: %w", err)
	}
	return archOf(strings.TrimSpace(uname)), nil
}

// Program is the program as it lies on a machine.
type Program struct {
	machine *Machine
	file    string
	hash    string
}

// cacheScript makes the folder, lets nobody else into it, drops old versions and says its name. A folder that belongs to
// somebody else, or is a link, is refused.
const cacheScript = `umask 077; set -e
d="${XDG_CACHE_HOME:-$HOME/.cache}/shoal/bin"
mkdir -p "$d"
[ -d "$d" ] && [ ! -L "$d" ] && [ -O "$d" ] || { echo "$d is not a folder of this user" >&2; exit 1; }
chmod 700 "$d"; cd "$d"
ls -t | grep -E '^[0-9a-f]{64}$' | tail -n +%d | while read -r f; do [ "$f" = %s ] || rm -f -- "$f"; done
pwd -P`

func (m *Machine) deliver(ctx context.Context, b Binary, copying func(Binary)) (*Program, error) {
	home, err := m.output(ctx, `eval echo ~"$(id -un)"`)
	if err != nil {
		return nil, fmt.Errorf("find the home folder: %w", err)
	}
	out, err := m.output(ctx, "HOME="+quote(strings.TrimSpace(home))+"\n"+fmt.Sprintf(cacheScript, keptPrograms+1, b.Hash))
	if err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	dir := strings.TrimSpace(out)
	if !path.IsAbs(dir) {
		return nil, fmt.Errorf("the cache folder %.80q is no path", dir)
	}
	p := &Program{machine: m, file: path.Join(dir, b.Hash), hash: b.Hash}
	if p.whole(ctx, p.file) == nil {
		return p, p.try(ctx)
	}
	copying(b)
	if err := m.upload(ctx, b, p); err != nil {
		return nil, err
	}
	return p, p.try(ctx)
}

// whole checks the hash of what lies there.
func (p *Program) whole(ctx context.Context, file string) error {
	_, err := p.machine.output(ctx, verifyScript(file, p.hash))
	return err
}

func verifyScript(file, hash string) string {
	return `s="$(sha256sum < ` + quote(file) + `)" || exit 1
[ "${s%% *}" = ` + hash + ` ] || { echo "the program is not whole" >&2; exit 1; }
`
}

// try runs it once: a folder may be mounted noexec, and a kernel may lack what it needs.
func (p *Program) try(ctx context.Context) error {
	_, err := p.machine.output(ctx, quote(p.file)+" version >/dev/null")
	if err != nil {
		return fmt.Errorf("run %s: %w", p.file, err)
	}
	return nil
}

// upload writes a new file and renames it when it is whole, so that another that does the same is not disturbed.
func (m *Machine) upload(ctx context.Context, b Binary, p *Program) error {
	client, err := sftp.NewClient(m.client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	name, err := m.output(ctx, "mktemp "+quote(p.file+".XXXXXX"))
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	name = strings.TrimSpace(name)
	err = copyFile(client, b, name)
	if err == nil {
		err = p.whole(ctx, name)
	}
	if err == nil {
		_, err = m.output(ctx, "chmod 700 "+quote(name)+" && mv -f "+quote(name)+" "+quote(p.file))
	}
	if err != nil {
		_, removeErr := m.output(context.WithoutCancel(ctx), "rm -f "+quote(name))
		return fmt.Errorf("copy the program: %w", errors.Join(err, removeErr))
	}
	return nil
}

func copyFile(client *sftp.Client, b Binary, name string) error {
	from, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := client.OpenFile(name, os.O_WRONLY)
	if err != nil {
		return err
	}
	if _, err := to.ReadFromWithConcurrency(from, 32); err != nil {
		return errors.Join(err, to.Close())
	}
	return to.Close()
}

// Running is the program at work, as a pair of pipes.
type Running struct {
	io.Reader
	io.WriteCloser
	process *process
}

// Start runs the program as the user of as, after its hash was checked once more.
func (p *Program) Start(ctx context.Context, as *Machine, args ...string) (*Running, error) {
	started, err := as.start(ctx, verifyScript(p.file, p.hash)+`HOME="$(eval echo ~"$(id -un)")"; export HOME
cd / && exec `+quoteAll(append([]string{p.file}, args...)))
	if err != nil {
		return nil, err
	}
	return &Running{Reader: started.stdout, WriteCloser: started.stdin, process: started}, nil
}

// Wait returns when the program has ended, with what it said on standard error where it failed.
func (r *Running) Wait() error {
	status, err := r.process.wait()
	if err == nil && status != 0 {
		err = &failure{status: status, said: strings.TrimSpace(r.process.stderr.String())}
	}
	return err
}

// Close ends the session; a program that runs reads the end of its input.
func (r *Running) Close() error {
	if err := r.process.session.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
