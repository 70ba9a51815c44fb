package ssh

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"shoal/executor"
	"shoal/internal/accountdb"
	"shoal/internal/facts"
	"shoal/internal/fetch"
	"shoal/internal/staging"
)

// Options of a Host.
type Options struct {
	// Root is the folder over there that stands for /; empty or "/": the machine itself.
	Root string
	// DataDir is the data folder over there.
	DataDir string
}

// Host is a machine over there, worked on from here. Packages and Services may be replaced before use.
type Host struct {
	*Files
	*Commands
	executor.Packages
	executor.Services
	executor.Accounts
	executor.Fetcher
	Data  *Data
	facts map[string]string
}

var _ executor.Host = (*Host)(nil)

// ErrNeedsProgram is returned by what works on the machine itself alone.
var ErrNeedsProgram = errors.New("cannot be done over SFTP and commands: it needs the program there (--ssh-mode=binary) or an agent")

// askScript says who we are and what there is: a line for each.
const askScript = `id -u; id -g; eval echo ~"$(id -un)"; uname -n; uname -m; getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null || echo 0
command -v getfattr >/dev/null && command -v setfattr >/dev/null && echo attrs || echo none
for t in stat sha256sum flock dd find chown touch mkdir; do command -v $t >/dev/null || echo "missing $t"; done`

// Open prepares a machine to be worked on. Close it.
func Open(ctx context.Context, m *Machine, o Options) (*Host, error) {
	out, err := m.output(ctx, askScript)
	if err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) < 7 {
		return nil, fmt.Errorf("look at the machine: it says %.200q", out)
	}
	if len(lines) > 7 {
		return nil, fmt.Errorf("the machine cannot be worked on with commands: %s", strings.Join(lines[7:], ", "))
	}
	uid, uidErr := strconv.ParseUint(lines[0], 10, 32)
	gid, gidErr := strconv.ParseUint(lines[1], 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	root := path.Clean("/" + o.Root)
	t, err := m.talk(ctx)
	if err != nil {
		return nil, err
	}
	client, err := m.sftpClient(ctx)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	files := &Files{
		talk: t, sftp: client, root: root, uid: uint32(uid), gid: uint32(gid), tag: staging.Tag(o.DataDir), attrs: lines[6] == "attrs",
		dirty: map[uint64]string{},
	}
	accounts := accountdb.New(&accountFiles{machine: m, files: files})
	commands := &Commands{machine: m, root: root, home: lines[2], uid: files.uid, users: accounts}
	h := &Host{
		Files: files, Commands: commands, Packages: executor.NoPackages{Why: ErrNeedsProgram}, Services: executor.NoServices{Why: ErrNeedsProgram}, Accounts: accounts, Fetcher: &fetcher{files, fetch.NewClient()},
		Data: &Data{machine: m, commands: commands, talk: t, sftp: client, dir: o.DataDir},
	}
	cpus, _ := strconv.Atoi(lines[5]) // a fact that cannot be read is absent
	h.facts = h.readFacts(facts.Source{Hostname: lines[3], Arch: archOf(lines[4]), CPUs: cpus})
	return h, nil
}

func (h *Host) readFacts(s facts.Source) map[string]string {
	for _, name := range []string{path.Join(h.Files.root, "etc/os-release"), "/etc/os-release"} {
		if data, err := readAll(h.sftp, name); err == nil && len(data) > 0 {
			s.OSRelease = data
			break
		}
	}
	s.Meminfo, _ = readAll(h.sftp, "/proc/meminfo")
	return s.Tags()
}

// Facts are what the machine says of itself, as tags.
func (h *Host) Facts() map[string]string { return h.facts }

// Tools runs the tools of package and service managers over there.
func (h *Host) Tools() Tools { return Tools{h.Commands} }

// Has says whether the machine has a command.
func (h *Host) Has(tool string) bool {
	_, err := h.talk.must("command -v " + quote(tool))
	return err == nil
}

// KeepsAttrs says whether the machine has what reads and writes extended attributes and access control lists.
func (h *Host) KeepsAttrs() bool { return h.attrs }

// Close ends what was opened.
func (h *Host) Close() error {
	err := errors.Join(h.Data.Close(), h.sftp.Close(), h.talk.close())
	return err
}

// MakeFolders makes the folder that stands for the machine, and the data folder, which is for its owner alone.
func (h *Host) MakeFolders() error {
	data := quote(h.Data.dir)
	_, err := h.talk.must("mkdir -p " + quote(h.Files.root) + " && mkdir -p \"$(dirname " + data + ")\" && { [ -d " + data + " ] || mkdir -m 700 " + data + "; }")
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// Lost says whether the connection broke.
func (h *Host) Lost() error {
	if _, err := h.talk.must("true"); err != nil {
		return lost(err)
	}
	return nil
}
