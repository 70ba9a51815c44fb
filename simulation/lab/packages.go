package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// archives is where apt looks for packages before it asks a server.
const archives = "/var/cache/apt/archives"

// Fetch puts the packages that the machine lacks into a folder, with what they depend on (and not what they recommend), so
// that a host can install them without a network. Packages that are on the machine are on each host already, and are not fetched.
func Fetch(ctx context.Context, dir string, packages ...string) error {
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return err
	}
	for _, name := range packages { // each by itself: two of them may exclude each other
		if err := fetch(ctx, dir, name); err == nil {
			continue
		}
		// The lists that the machine has may name versions that are gone.
		update := exec.CommandContext(ctx, "apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=120")
		if out, err := update.CombinedOutput(); err != nil {
			return fmt.Errorf("lab: apt-get update: %w\n%s", err, out)
		}
		if err := fetch(ctx, dir, name); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, dir, name string) error {
	// It changes nothing of the machine's, so that it need not wait for another apt.
	args := []string{"install", "-y", "-q", "--no-install-recommends", "--download-only", "-o", "Dir::Cache::archives=" + dir, "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true"}
	cmd := exec.CommandContext(ctx, "apt-get", append(args, name)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: fetch %s: %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// Stock copies what Fetch put into a folder to where the host's apt finds it, and lets it ask for nothing else.
func (h *Host) Stock(dir string) error {
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.Path(archives), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(h.Path("/etc/apt/apt.conf.d/99-lab"), []byte("APT::Install-Recommends \"false\";\n"), 0o644); err != nil {
		return fmt.Errorf("lab: stock %s: %w", h.Name, err)
	}
	for _, path := range packages {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(h.Path(filepath.Join(archives, filepath.Base(path))), data, 0o644); err != nil {
			return fmt.Errorf("lab: stock %s: %w", h.Name, err)
		}
	}
	return nil
}
