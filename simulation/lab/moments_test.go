package lab_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/fxamacker/cbor/v2"

	"shoal/executor/local"
	"shoal/simulation/lab"
)

const dataDir = "/var/lib/shoal"

// watched are the folders of a host whose events are counted: where the tree, the package manager and shoal itself write.
var watched = []string{
	"/", "/etc", "/etc/kt", "/etc/kt/tree.d", "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants", "/etc/cron.d",
	"/etc/apt/sources.list.d", "/etc/sysctl.d", "/srv", "/srv/kt", "/srv/kt/old", "/usr/local/kt", "/home", "/home/kt-ann", "/usr/share",
	"/var/lib/dpkg", "/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/apt", dataDir, dataDir + "/undo",
}

// moment is when a run is killed: at the n-th thing that the kernel tells of its writes, or that long after it began.
type moment struct {
	journal bool // of the data folder alone: journal, ledger, old contents
	nth     int
	after   time.Duration
}

func (m moment) String() string {
	switch {
	case m.nth == 0:
		return fmt.Sprintf("%s after its start", m.after.Round(10*time.Microsecond))
	case m.journal:
		return fmt.Sprintf("%s after write %d of the data folder", m.after.Round(10*time.Microsecond), m.nth)
	}
	return fmt.Sprintf("%s after write %d of the machine", m.after.Round(10*time.Microsecond), m.nth)
}

// extent is how much there is of a whole run.
type extent struct {
	writes, data int
	took         time.Duration
}

// pick spreads moments over what a run does and over the time that it takes, a third each: a package manager takes most of the
// time, and most of the steps take none.
func (x extent) pick(r *rand.Rand) moment {
	short := time.Duration(0)
	if r.IntN(2) == 0 {
		short = time.Duration(r.Int64N(int64(2 * time.Millisecond)))
	}
	switch r.IntN(3) {
	case 0:
		return moment{after: time.Duration(r.Int64N(int64(x.took)))}
	case 1:
		return moment{nth: 1 + r.IntN(x.data), journal: true, after: short}
	}
	return moment{nth: 1 + r.IntN(x.writes), after: short}
}

// strike runs shoal on a host and kills it at a moment; a zero moment lets it end. The package manager, which outlives it, is
// left alone.
func strike(t *testing.T, h *lab.Host, m moment, args ...string) (seen extent, killed bool, output string) {
	t.Helper()
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, dir := range watched {
		_ = w.Add(h.Path(dir)) // some are there only after the run
	}
	data := h.Path(dataDir)
	var out bytes.Buffer
	cmd := h.Command(t.Context(), append([]string{"shoal"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	// Its own group: nsenter and shoal. What shoal starts is in groups of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	clock := time.NewTimer(time.Hour)
	if m != (moment{}) && m.nth == 0 {
		clock.Reset(m.after)
	}
	defer clock.Stop()
	for {
		select {
		case err := <-ended:
			seen.took = time.Since(began)
			if err != nil && !killed {
				t.Fatalf("shoal %s: %v\n%s", strings.Join(args, " "), err, out.String())
			}
			return seen, killed, out.String()
		case <-clock.C:
			killed = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil
		case e := <-w.Events:
			seen.writes++
			own := strings.HasPrefix(filepath.Clean(e.Name), data+"/")
			if own {
				seen.data++
			}
			if m.nth > 0 && (m.journal && own && seen.data == m.nth || !m.journal && seen.writes == m.nth) {
				clock.Reset(m.after)
			}
		case err := <-w.Errors:
			t.Fatal(err)
		}
	}
}

// kept is what a killed run left in its data folder.
type kept struct {
	sequence uint64
	phase    string // where it was
}

// readKept reads the journal and the ledger as the formats of both are written down: what the run was about when it died.
func readKept(t *testing.T, h *lab.Host) kept {
	t.Helper()
	data := local.OpenData(h.Path(dataDir))
	defer data.Close()
	var k kept
	if raw, err := data.Load(); err != nil {
		t.Fatal(err)
	} else if raw != nil {
		var ledger struct {
			Sequence uint64 `cbor:"2,keyasint"`
		}
		if err := cbor.Unmarshal(raw, &ledger); err != nil {
			t.Fatal(err)
		}
		k.sequence = ledger.Sequence
	}
	frames, err := data.Records()
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	k.phase = phaseOf(t, frames, k.sequence)
	return k
}

// phaseOf names what a journal was last told.
func phaseOf(t *testing.T, frames [][]byte, sequence uint64) string {
	t.Helper()
	if len(frames) == 0 {
		return "no journal"
	}
	type saved struct {
		Call struct {
			Function string `cbor:"1,keyasint"`
		} `cbor:"1,keyasint"`
	}
	functions := map[int]string{}
	phase := "staging"
	for _, frame := range frames {
		var r struct {
			Begin *struct {
				Sequence uint64 `cbor:"1,keyasint"`
			} `cbor:"1,keyasint"`
			Intent *struct {
				Order int   `cbor:"1,keyasint"`
				Turn  int   `cbor:"7,keyasint"`
				Saved saved `cbor:"4,keyasint"`
			} `cbor:"2,keyasint"`
			Done *struct {
				Order int `cbor:"1,keyasint"`
			} `cbor:"3,keyasint"`
			Moved *struct {
				Order int `cbor:"1,keyasint"`
			} `cbor:"4,keyasint"`
		}
		if err := cbor.Unmarshal(frame, &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Begin != nil && r.Begin.Sequence <= sequence:
			return "committed, journal not cleared"
		case r.Intent != nil:
			functions[r.Intent.Order] = r.Intent.Saved.Call.Function
			phase = "acting: files of the first batch, removals"
			if r.Intent.Turn > 0 {
				phase = "acting: " + functions[r.Intent.Order]
			}
		case r.Done != nil:
			phase = "acting: after " + functions[r.Done.Order]
		case r.Moved != nil:
			phase = "acting: " + functions[r.Moved.Order]
		}
	}
	return phase
}
