package executor

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Host is everything that a module may touch. Each operation is one step with one name, so that a test can fail
// exactly one. Paths are absolute as the tree writes them; a host under --root resolves them below its root.
type Host interface {
	Files
	Commands
	Packages
	Services
	Accounts
	Fetcher
}

// Stat is what one lstat tells, and what the hash cache is keyed by.
type Stat struct {
	Mode         fs.FileMode // type and permission bits, with setuid, setgid and sticky
	UID, GID     uint32
	Size         int64
	Dev, Inode   uint64
	Mtime, Ctime int64 // nanoseconds since 1970
}

// Meta is what a file is given beside its bytes. Xattrs nil leaves them empty.
type Meta struct {
	Mode     fs.FileMode
	UID, GID uint32
	Mtime    time.Time // zero: now
	Xattrs   map[string][]byte
}

// ErrUnsafePath is refused by whatever would write: the path passes through a symlink that anyone could have put there.
var ErrUnsafePath = errors.New("path passes through a symlink that does not belong to root")

// Files is the file system. No method follows a symlink in the last element of its path, and those that write refuse a
// path that passes through a symlink not owned by root (or, when not running as root, by this user). Nothing is edited in
// place: contents arrive by Stage and Rename.
type Files interface {
	// Self is the user and group that the host works as, who own what is made and says nothing else.
	Self() (uid, gid uint32)
	// Lstat returns fs.ErrNotExist when there is nothing.
	Lstat(path string) (Stat, error)
	ReadFile(path string) ([]byte, error)
	Readlink(path string) (string, error)
	// ReadDir returns the sorted names in a folder.
	ReadDir(path string) ([]string, error)
	Xattrs(path string) (map[string][]byte, error)
	// Hash returns the sha256 ("sha256:…") of a regular file, from the cache when st is as it was when last hashed.
	Hash(path string, st Stat) (string, error)
	// Stage writes data with meta to a new temporary file on the file system of path and returns the name it has there. It
	// is not durable before SyncFiles.
	Stage(path string, data []byte, meta Meta) (staged string, err error)
	// SyncFiles makes all that was staged durable, with one sync for each file system.
	SyncFiles() error
	// Unstage removes what Stage left behind for paths, in this process or in one that was killed; those that were renamed
	// are not touched. It looks in the folders where Stage would put them now.
	Unstage(paths []string) error
	// Rename moves a staged file to path, over what is there; or a folder to where nothing is, on the same file system.
	Rename(staged, path string) error
	Mkdir(path string, meta Meta) error
	Symlink(target, path string) error
	// Remove deletes a file, a symlink or an empty folder.
	Remove(path string) error
	// SetMeta changes owner, mode and, unless nil, xattrs and mtime of what is there.
	SetMeta(path string, meta Meta) error
	// WriteSetting writes to a file of the kernel (proc, sysfs), which takes a value by being written to and cannot be
	// renamed over. It makes no file, and refuses one that lies on a disk.
	WriteSetting(path string, data []byte) error
}

// Stager is a Files that stages what it reads piece by piece. One that is not gets all of it in one call of Stage.
type Stager interface {
	// StageFrom is Stage with all that in has; where that ends with an error nothing is left.
	StageFrom(path string, in io.Reader, meta Meta) (staged string, err error)
}

// StageFrom stages all that in has.
func StageFrom(h Files, path string, in io.Reader, meta Meta) (string, error) {
	if s, ok := h.(Stager); ok {
		return s.StageFrom(path, in, meta)
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return "", err
	}
	return h.Stage(path, data, meta)
}

// Command is one process to run, with no shell unless Argv says so.
type Command struct {
	Argv  []string
	Cwd   string
	Env   []string // KEY=value, added to a minimal environment
	User  string   // empty: as this process
	Stdin []byte
	// Limit is the most bytes of standard output and of standard error that are kept each.
	Limit int
}

// Exit is how a command ended.
type Exit struct {
	Status         int
	Stdout, Stderr []byte
}

// Commands runs processes. A command that could not be started is an error; one that ended is an Exit, whatever its
// status. Cancelling ctx kills the process group.
type Commands interface {
	Run(ctx context.Context, cmd Command) (Exit, error)
	// Path is the name that a command sees for a path of Files: the same but for a host under --root.
	Path(path string) string
}

// Request is something to be fetched over HTTP or HTTPS.
type Request struct {
	URL string
	// Hash is what its bytes must have, "sha256:…".
	Hash string
	// Limit is the most bytes that it may have.
	Limit   int64
	Headers map[string]string
	// Hosts are those that it may go to, redirects included: names, or *.domain for all below a domain. nil: any.
	Hosts []string
}

// Allows tells whether a host, without its port, is one of r.Hosts.
func (r Request) Allows(host string) bool {
	if r.Hosts == nil {
		return true
	}
	host = strings.ToLower(host)
	return slices.ContainsFunc(r.Hosts, func(allowed string) bool {
		if domain, below := strings.CutPrefix(allowed, "*"); below {
			return strings.HasSuffix(host, domain)
		}
		return host == allowed
	})
}

// ErrFetch is the kind of every error of a Fetch that has to do with what is fetched rather than with where it is put.
var ErrFetch = errors.New("fetch")

// Fetcher is the way to what is elsewhere.
type Fetcher interface {
	// Fetch puts what is fetched into a new temporary file with meta, where Stage would put one for path, and returns the
	// name it has there. It checks the hash, and leaves nothing behind when it fails.
	Fetch(ctx context.Context, r Request, path string, meta Meta) (staged string, err error)
}

// Package is one installed package.
type Package struct {
	Name    string
	Version string
	Hold    bool
	// Leaving: it is there and works, and was chosen to go. A removal that was interrupted before it touched a file leaves that, and
	// the next one that asks for nothing else would go on with it.
	Leaving bool
}

// PackageChange is what a transaction does to one package. An empty version means that it is not installed.
type PackageChange struct {
	Name          string
	Before, After string
}

// Packages is the package manager. Version "" of a package to install asks for the candidate, and leaves one alone that
// is installed already.
type Packages interface {
	// Installed returns those of names that are installed; all when names is empty.
	Installed(ctx context.Context, names []string) ([]Package, error)
	// Available returns the candidate version of a package, and whether that exact version (empty: any) can be had.
	Available(ctx context.Context, name, version string) (candidate string, ok bool, err error)
	// SimulatePackages returns all that ChangePackages would change with the same arguments, dependencies and conflicts
	// included, sorted by name; an error when it would refuse. It needs no network and changes nothing.
	SimulatePackages(ctx context.Context, install []Package, remove []string) ([]PackageChange, error)
	// ChangePackages installs, up- or downgrades (name=version) and removes in one transaction. Removing leaves the
	// package's configuration and data, takes what a transaction that failed left half installed, and passes over what is not
	// there. Everything is fetched before anything is touched. What is to be installed and is there stays: it is no longer
	// Leaving. Asked for nothing, it finishes what an interrupted transaction left.
	ChangePackages(ctx context.Context, install []Package, remove []string) error
	// Leftovers returns those of names that are not installed and left their configuration and data, sorted.
	Leftovers(ctx context.Context, names []string) ([]string, error)
	// PurgePackages takes away what packages that are not installed left, and passes over those that left nothing.
	PurgePackages(ctx context.Context, names []string) error
	SetHold(ctx context.Context, name string, hold bool) error
	// RefreshPackages fetches the lists of one repository, by the name of its file without its ending, or of all (""). Lists
	// of all that were fetched within maxAge are left.
	RefreshPackages(ctx context.Context, repository string, maxAge time.Duration) error
}

// Unit is the state of a service.
type Unit struct {
	Exists  bool
	Active  bool
	Enabled bool
	Masked  bool
	// Unread: its files and symlinks are not those that the service manager has read (see ReloadManager). All but Exists and
	// Active is what the disk says.
	Unread bool
	// Since is when it became active, in microseconds of the host's clock; it tells a restart.
	Since uint64
}

// Services is the service manager. Starting and the like return when the job is done, with an error that holds the
// last lines of the service's log when it failed.
type Services interface {
	Unit(ctx context.Context, name string) (Unit, error)
	StartUnit(ctx context.Context, name string) error
	StopUnit(ctx context.Context, name string) error
	RestartUnit(ctx context.Context, name string) error
	ReloadUnit(ctx context.Context, name string) error
	EnableUnit(ctx context.Context, name string, enabled bool) error
	MaskUnit(ctx context.Context, name string, masked bool) error
	// ReloadManager makes the service manager read its unit files again.
	ReloadManager(ctx context.Context) error
}

// User is one row of the user database.
type User struct {
	Name   string
	UID    uint32
	GID    uint32
	Gecos  string
	Home   string
	Shell  string
	Groups []string // supplementary, sorted
	System bool
	// Shadow is its row of shadow(5) without the name, so that a user who was removed can come back as it was. Empty: this
	// process may not read it; put: keep what is there, and lock a new user.
	Shadow string
	// After is the user whose row stands above, where the host keeps an order, so that one who comes back stands where it
	// stood. Empty, or no longer there: at the end. A row that is there stays in its place.
	After string
}

// Group is one row of the group database.
type Group struct {
	Name    string
	GID     uint32
	Members []string
	System  bool
	// Shadow is its password and its administrators as gshadow(5) has them. Empty: as of a user.
	Shadow string
	// After is the group whose row stands above, as of a user.
	After string
}

// Accounts is the user and group database. Lookups return ok=false for what is not there.
type Accounts interface {
	LookupUser(name string) (u User, ok bool, err error)
	LookupGroup(name string) (g Group, ok bool, err error)
	// GroupByID finds a group by its number.
	GroupByID(gid uint32) (g Group, ok bool, err error)
	// PutUser creates the user, or changes it to be as given; its home is the caller's to make. UID, GID 0 on creation of a
	// user other than root: choose, where the chosen group is the one of the user's own name, made when there is none. A
	// group in Groups that does not exist is an error.
	PutUser(ctx context.Context, u User) error
	// RemoveUser takes the user out of every row, its memberships included, and leaves its own group and its home. One
	// that is not there is removed already.
	RemoveUser(ctx context.Context, name string) error
	// PutGroup creates the group, or changes it to be as given, members included. GID 0 on creation of a group other than
	// root: choose.
	PutGroup(ctx context.Context, g Group) error
	// RemoveGroup refuses to remove the primary group of a user. One that is not there is removed already.
	RemoveGroup(ctx context.Context, name string) error
}
