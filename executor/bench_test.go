package executor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"shoal/executor"
	"shoal/executor/local"
)

const benchFiles = 1000

func benchPlan() *planned {
	p := newPlan()
	for i := range benchFiles {
		p.add(fmt.Sprint("f", i), "file.managed", map[string]any{
			"path": fmt.Sprintf("/etc/app/conf.d/%04d.conf", i), "contents": p.text(fmt.Sprintf("# file %d\nworkers = 4\nname = web-%d\n", i, i)),
			"mode": "0644", "owner": "root", "group": "root",
		})
	}
	return p
}

// BenchmarkNoChange is a run over files that match already; its twin is a bare loop of one lstat each.
func BenchmarkNoChange(b *testing.B) {
	w := newWorld(b)
	p := benchPlan()
	w.converge(b, p)
	w.converge(b, p) // reads what the first run wrote too shortly before it looked
	b.Run("shoal", func(b *testing.B) {
		for b.Loop() {
			if r := w.converge(b, p); r.Changed != 0 {
				b.Fatal(results(r))
			}
		}
	})
	// As a process that just started: the caches come from disk.
	b.Run("shoal-cold", func(b *testing.B) {
		for b.Loop() {
			host, err := local.New(local.Options{Root: w.root, DataDir: w.data})
			if err != nil {
				b.Fatal(err)
			}
			host.Accounts = noAccounts{}
			data := local.OpenData(w.data)
			e := &executor.Engine{
				Host: host, Modules: w.engine.Modules, Journal: data, Ledger: data, Vault: data, Lock: data, Clock: local.Clock{},
			}
			if r := e.Apply(b.Context(), &p.Plan, nil, executor.RunMeta{}); r.Changed != 0 || r.Result != executor.Converged {
				b.Fatal(results(r))
			}
			host.Close()
			data.Close()
		}
	})
	b.Run("twin", func(b *testing.B) {
		for b.Loop() {
			for i := range benchFiles {
				if _, err := os.Lstat(fmt.Sprintf("%s/etc/app/conf.d/%04d.conf", w.root, i)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkFirst is the first run; its twin writes, syncs and renames each file.
func BenchmarkFirst(b *testing.B) {
	b.Run("shoal", func(b *testing.B) {
		p := benchPlan()
		for b.Loop() {
			b.StopTimer()
			w := newWorld(b)
			b.StartTimer()
			if r := w.converge(b, p); r.Changed != benchFiles {
				b.Fatal(r.Changed)
			}
		}
	})
	b.Run("twin", func(b *testing.B) {
		p := benchPlan()
		for b.Loop() {
			b.StopTimer()
			dir := b.TempDir()
			b.StartTimer()
			for i := range p.Invocations {
				content := p.Rendered[p.text(fmt.Sprintf("# file %d\nworkers = 4\nname = web-%d\n", i, i)).Hash]
				if err := bareWrite(filepath.Join(dir, fmt.Sprintf("%04d.conf", i)), content); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func bareWrite(name string, data []byte) error {
	fd, err := unix.Open(name+".tmp", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, data); err != nil {
		return err
	}
	if err := unix.Fsync(fd); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
