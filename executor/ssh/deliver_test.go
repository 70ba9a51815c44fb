package ssh_test

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shoal/executor/ssh"
	"shoal/internal/sshdtest"
)

// program is a small one of this machine that ends well when it is asked for its version.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-o", file, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

func open(t *testing.T, file string) ssh.Binary {
	t.Helper()
	b, err := ssh.OpenBinary(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDeliver(t *testing.T) {
	file := program(t)
	cache := t.TempDir()
	m := machine(t, sshdtest.Start(t, sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cache}))
	copies := 0
	deliver := func() error {
		_, err := m.Deliver(t.Context(), []ssh.Binary{open(t, file)}, func(ssh.Binary) { copies++ })
		return err
	}
	for range 2 {
		if err := deliver(); err != nil {
			t.Fatal(err)
		}
	}
	if copies != 1 {
		t.Errorf("copied %d times", copies)
	}
	folder := filepath.Join(cache, "shoal", "bin")
	kept := filepath.Join(folder, open(t, file).Hash)
	for name, mode := range map[string]os.FileMode{folder: os.ModeDir | 0o700, kept: 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// What lies there is not believed, and a folder that others may write to is closed.
	f, err := os.OpenFile(kept, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Chmod(folder, 0o777), deliver()); err != nil {
		t.Fatal(err)
	}
	if got := open(t, kept).Hash; copies != 2 || got != open(t, file).Hash {
		t.Errorf("copied %d times, %s is there", copies, got)
	}
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 1 {
		t.Errorf("left over: %v, %v", names, err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestStartChecksOnceMore: between delivery and start somebody changed it.
func TestStartChecksOnceMore(t *testing.T) {
	cache := t.TempDir()
	m := machine(t, sshdtest.Start(t, sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cache}))
	b := open(t, program(t))
	p, err := m.Deliver(t.Context(), []ssh.Binary{b}, func(ssh.Binary) {})
	if err != nil {
		t.Fatal(err)
	}
	evil := "#!/bin/sh\ntouch " + cache + "/was-here\n"
	if err := os.WriteFile(filepath.Join(cache, "shoal", "bin", b.Hash), []byte(evil), 0o700); err != nil {
		t.Fatal(err)
	}
	running, err := p.Start(t.Context(), m)
	if err == nil {
		err = running.Wait()
	}
	if err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(cache, "was-here")); err == nil {
		t.Error("it was run")
	}
}

func TestSymlinkedCache(t *testing.T) {
	cache, elsewhere := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(cache, "shoal"), 0o700), os.Symlink(elsewhere, filepath.Join(cache, "shoal", "bin"))); err != nil {
		t.Fatal(err)
	}
	m := machine(t, sshdtest.Start(t, sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + cache}))
	if _, err := m.Deliver(t.Context(), []ssh.Binary{open(t, program(t))}, func(ssh.Binary) {}); !errors.Is(err, ssh.ErrCannotRun) {
		t.Errorf("error %v", err)
	}
}

// TestArchitecture: a program for another machine is not sent, and it is said what to give.
func TestArchitecture(t *testing.T) {
	file := program(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(data[18:], uint16(elf.EM_RISCV)) // e_machine of elf(5)
	foreign := file + ".foreign"
	if err := os.WriteFile(foreign, data, 0o700); err != nil {
		t.Fatal(err)
	}
	m := machine(t, sshdtest.Start(t, sshdtest.Options{Config: "SetEnv XDG_CACHE_HOME=" + t.TempDir()}))
	none := func(ssh.Binary) { t.Error("copied") }
	_, err = m.Deliver(t.Context(), []ssh.Binary{open(t, foreign)}, none)
	if !errors.Is(err, ssh.ErrCannotRun) || !strings.Contains(err.Error(), "--binary FILE") {
		t.Errorf("error %v", err)
	}
	if _, err := m.Deliver(t.Context(), []ssh.Binary{open(t, foreign), open(t, file)}, func(ssh.Binary) {}); err != nil {
		t.Errorf("one of two fits: %v", err)
	}
	if _, err := ssh.OpenBinary(filepath.Join(filepath.Dir(file), "main.go")); err == nil {
		t.Error("a source is a program")
	}
}
