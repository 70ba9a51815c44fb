package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	lifecycle "github.com/oklog/run"
	"github.com/spf13/cobra"

	"shoal/executor/local"
	"shoal/internal/fetch"
	"shoal/internal/lineage"
	"shoal/membership"
	"shoal/membership/gossip"
	"shoal/mesh"
	"shoal/mesh/api"
	"shoal/mesh/node"
	"shoal/mesh/p2p"
	"shoal/ring"
	"shoal/store"
	"shoal/store/badger"
	"shoal/store/keyfile"
	"shoal/store/memory"
)

func newAgent(t *terminal) *cobra.Command {
	var (
		showID bool
		flags  agentConfig
		tags   []string
		file   string
	)
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a node",
		Long: `Run a node.

The first machine of a mesh starts with a ticket, every other with a ticket and the address of any machine that is there.
After that no flags are needed: the node remembers its mesh. Without a ticket the node is alone, and takes its operators from
the first push over its socket.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file (YAML); flags win over it")
	f.StringVar(&flags.DataDir, "data-dir", "", "key, store, journal and ledger (default: ROOT"+defaultDataDir+")")
	f.StringVar(&flags.Name, "name", "", "the name to ask for (default: the host name)")
	f.StringVar(&flags.Bind, "bind", "", "IP:PORT for UDP and TCP (default: "+defaultBind+")")
	f.StringArrayVar(&flags.Join, "join", nil, "address of a machine of the mesh, `IP:PORT` (repeatable)")
	f.StringVar(&flags.Ticket, "ticket", "", "the ticket, or the line of shoal trust admission, or @FILE")
	f.BoolVar(&showID, "print-id", false, "print the id of this machine's key, which is made the first time, and end")
	f.StringArrayVar(&tags, "tag", nil, "a tag of a node without a mesh, `K=V`; in a mesh, a tag that the grant must hold (repeatable)")
	f.StringVar(&flags.Zone, "zone", "", "the zone of a node without a mesh; in a mesh, the zone that the grant must hold")
	f.StringVar(&flags.Root, "root", "", "a folder, `DIR`, that stands for the machine")
	f.StringVar(&flags.API, "api", "", "where commands reach this node: unix:PATH, or HOST:PORT beside the socket (default: DATA_DIR/api.sock)")
	f.StringVar(&flags.APICert, "api-cert", "", "certificate of this node for the API over TCP, a PEM `FILE`; without one it is on a loopback address alone")
	f.StringVar(&flags.APIKey, "api-key", "", "the key of it, a PEM `FILE`")
	f.StringVar(&flags.APIClients, "api-clients", "", "who signs the certificates of clients, a PEM `FILE`; without it a token is the only way in")
	f.StringVar(&flags.Store, "store", "", "memory, disk or replicated (default: replicated in a mesh, disk without one)")
	f.StringVar(&flags.Ring, "ring", "", "token or circular; the same on all nodes of a mesh (default: token)")
	f.StringVar(&flags.User, "user", "", "whom the side that is on the network runs as, `NAME or UID:GID` (default: "+meshUserName+", where there is one and root is the machine)")
	f.BoolVar(&flags.OneProcess, "one-process", false, "do not divide the agent: the process that is on the network is the one that changes the machine")
	f.StringVar(&flags.APIGroup, "api-group", "", "a `GROUP` that may open the socket (default: "+meshUserName+", where there is one and root is the machine)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given, err := parseTags(tags)
		if err != nil {
			return err
		}
		flags.Tags = given
		config, err := loadConfig(file)
		if err != nil {
			return err
		}
		config, err = config.overruled(flags).complete()
		if err != nil {
			return err
		}
		if showID {
			return t.printNodeID(config)
		}
		return runAgent(cmd.Context(), t, config)
	}
	return cmd
}

// agent is a node with everything that it acts through, from the disk up.
type agent struct {
	config  agentConfig
	id      identity
	log     *slog.Logger
	facts   map[string]string
	kv      store.KV
	machine *machine
	watcher *local.Watcher
	units   *local.UnitWatcher
	drift   <-chan []string
	node    *node.Node
	door    net.Listener
	tcp     net.Listener // nil: the socket alone
	secured *apiTLS
	access  *os.File // the folder of the tokens
	// Of an agent that is divided:
	who       meshUser
	meshLock  *os.File
	storeDir  string
	mark      *os.File
	executive node.Executive
	closers   []func() error // run last to first
}

func runAgent(ctx context.Context, t *terminal, c agentConfig) error {
	a := &agent{config: c, log: slog.New(slog.NewTextHandler(t.err, nil)), facts: local.Facts(c.Root)}
	who, why, err := c.meshUser()
	if err != nil {
		return err
	}
	if who != nil {
		a.who = *who
		return a.run(ctx, a.serveDivided, a.openDoor, a.identify, a.openAccess, a.openMachine)
	}
	a.log.Warn("one process: whoever takes over the side that is on the network is who changes this machine", "reason", why)
	return a.run(ctx, a.serve, a.openDoor, a.identify, a.openAccess, a.openTCP, a.openStore, a.openMachine, a.makeNode)
}

// run takes the steps and then serves; what was opened is closed, the last first.
func (a *agent) run(ctx context.Context, serve func(context.Context) error, steps ...func() error) (err error) {
	defer func() {
		for i := len(a.closers) - 1; i >= 0; i-- {
			if closeErr := a.closers[i](); err == nil {
				err = closeErr
			}
		}
	}()
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return serve(ctx)
}

// openDoor listens for commands before anything else is opened: an agent that runs already is found there. Who comes early
// waits.
func (a *agent) openDoor() (err error) {
	if err := makeFolders(a.config.Root, a.config.DataDir); err != nil {
		return err
	}
	if err := a.lock(); err != nil {
		return err
	}
	if a.secured, err = a.config.readTLS(); err != nil {
		return err
	}
	if a.door, err = api.Listen(a.config.socket(), nil); err != nil {
		return badInput("%v", err)
	}
	if err := a.config.admitGroup(); err != nil {
		return errors.Join(err, a.door.Close())
	}
	a.closers = append(a.closers, func() error {
		_ = a.door.Close() // Serve has closed it, unless the start failed
		return nil
	})
	return nil
}

// identify finds out who this node is, and refuses what does not fit.
func (a *agent) identify() (err error) {
	if a.id, err = openIdentity(a.config); err != nil {
		return err
	}
	if a.id.standing == nil && len(a.config.Join) > 0 {
		return badInput("--join needs a ticket; an operator makes one with: shoal ticket --tag role=web")
	}
	if network, _ := api.Network(a.config.API); network == "tcp" && a.id.standing == nil {
		return badInput("--api %s: a node without a mesh takes its operators from the first push, so that TCP would make any user of this machine its operator; use the socket", a.config.API)
	}
	return nil
}

// openStore opens what the node keeps of the mesh.
func (a *agent) openStore() (err error) {
	form := a.config.Store
	if form == "" {
		form = map[bool]string{true: "disk", false: "replicated"}[a.id.standing == nil]
	}
	if (form == "replicated") != (a.id.standing != nil) && form != "memory" {
		return badInput("--store %s: replicated is for a node of a mesh, disk for one without", form)
	}
	if form == "memory" {
		a.log.Warn("the store is volatile: what is pushed here is gone when the agent ends, unless other nodes have it")
		a.kv = memory.New()
	} else if err := a.openDisk(cmp.Or(a.storeDir, filepath.Join(a.config.DataDir, storeName))); err != nil {
		return err
	}
	a.closers = append(a.closers, a.kv.Close)
	return nil
}

// openMark opens what shows that the store kept all that it was given, as long as the machine runs.
func (a *agent) openMark() *os.File {
	f, err := lineage.Open(a.config.DataDir)
	if err != nil {
		a.log.Warn("after each start this node asks the others what it promised: nothing here can show that its disk kept it", "reason", err)
	}
	return f
}

// gossipKeysFile is in the folder of the store that is no part of the database.
const gossipKeysFile = "gossip.keys"

func (a *agent) openDisk(dir string) error {
	if a.mark == nil {
		a.mark = a.openMark()
	}
	a.closers = append(a.closers, a.mark.Close)
	disk, err := badger.Open(badger.Options{Dir: dir, Logger: a.log, Mark: a.mark, Forgot: []store.Change{mesh.ForgotRecord()}})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, badger.PrivateDir, gossipKeysFile)
	kv, err := keyfile.Open(context.Background(), disk, file, store.MetaKey(mesh.KeysPrefix), a.log)
	if err != nil {
		if a.storeDir != "" { // it is named by a way that only this process has
			err = fmt.Errorf("%w\n    %s is %s", err, dir, filepath.Join(a.config.DataDir, storeName))
		}
		return errors.Join(err, disk.Close())
	}
	a.kv = kv
	return nil
}

// openMachine opens the machine, and undoes a run that was cut short before anything else happens.
func (a *agent) openMachine() (err error) {
	if a.machine, err = openMachine(a.config.Root, a.config.DataDir); err != nil {
		return err
	}
	a.closers = append(a.closers, a.machine.close)
	if a.who.uid != 0 {
		a.machine.host.Fetcher = local.NewFetcher(a.machine.host.Files, fetch.NewClientBy(a.who.fetch))
	}
	report, interrupted, err := a.machine.engine.Recover(context.Background())
	if err != nil {
		return err
	}
	if interrupted {
		a.log.Warn("rolled back a run that was interrupted", "result", report.Result, "left", report.Left)
	}
	a.watcher = local.NewWatcher(a.machine.host, func(err error) { a.log.Warn("watching for drift", "error", err) })
	a.closers = append(a.closers, a.watcher.Close)
	a.drift = a.watcher.Drift()
	if systemd, ok := a.machine.host.Services.(*local.Systemd); ok && (a.config.Root == "" || a.config.Root == "/") {
		a.units = local.NewUnitWatcher(systemd, func(err error) { a.log.Warn("watching for drift", "error", err) })
		var stop func() error
		a.drift, stop = either(a.watcher.Drift(), a.units.Drift())
		a.closers = append(a.closers, a.units.Close, stop)
	}
	return nil
}

// either gives what comes of two channels, until it is stopped.
func either(one, other <-chan []string) (out <-chan []string, stop func() error) {
	both, quit, ended := make(chan []string), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var names []string
			select {
			case <-quit:
				return
			case names = <-one:
			case names = <-other:
			}
			select {
			case <-quit:
				return
			case both <- names:
			}
		}
	}()
	return both, func() error {
		close(quit)
		<-ended
		return nil
	}
}

func (a *agent) makeNode() error {
	roster := membership.Solo(a.id.member)
	if a.id.standing != nil {
		var err error
		if roster, err = a.id.roster(); err != nil {
			return err
		}
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return err
	}
	place := ring.NewPlacement().Update
	if a.config.Ring == "circular" {
		place = ring.NewCircular
	}
	ports, err := a.ports()
	if err != nil {
		return err
	}
	a.node, err = node.New(node.Config{
		Key: a.id.key, Seed: binary.LittleEndian.Uint64(seed[:]), Roster: roster, Join: a.config.Join,
		GossipKey: a.id.gossipKey(), Place: place, FullCheck: a.config.CheckEvery, ConfirmWithin: a.config.ConfirmWithin, Logger: a.log,
		// What a volatile node promised before this start it has forgotten; one that starts for the first time promised nothing.
		Volatile: a.kv.Volatile() && !a.id.fresh,
	}, ports)
	if err != nil || a.id.standing == nil {
		return err
	}
	return a.connect()
}

// ports are what the node acts through: the machine itself or, in an agent that is divided, the side that does.
func (a *agent) ports() (node.Ports, error) {
	if a.executive != nil {
		return node.Ports{KV: a.kv, Executive: a.executive}, nil
	}
	enforcer, err := a.enforcer()
	return node.Ports{KV: a.kv, Drift: a.drift, Enforcer: enforcer}, err
}

// connect brings up the two ways to other nodes. What they ask of the node waits until it runs.
func (a *agent) connect() error {
	transport, err := p2p.New(p2p.Options{
		Key: a.id.key, Bind: a.config.Bind, Known: a.node.Known, Admit: a.node.Admit, Vouch: a.node.Vouch,
		Credential: a.node.Credential, Logger: a.log,
	})
	if err != nil {
		return badInput("--bind %s: %v", a.config.Bind, err)
	}
	a.closers = append(a.closers, transport.Close)
	g, err := gossip.Start(gossip.Options{
		Self: a.id.id, Network: transport, Keys: a.node.GossipKeys(), Allowed: a.node.Known, Leaving: a.node.Leaving, Meet: a.node.Meet,
		Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.closers = append(a.closers, g.Close)
	a.node.Attach(transport, g, transport.Addr())
	a.config.Bind = transport.Addr()
	return nil
}

// serve runs until the context ends, the node leaves, or something fails. The node goes first, since it says goodbye; then
// the API; what they stand on is closed by runAgent.
func (a *agent) serve(ctx context.Context) error {
	nodeCtx, stopNode := context.WithCancel(ctx)
	apiCtx, stopAPI := context.WithCancel(context.Background())
	var group lifecycle.Group
	group.Add(func() error { return a.node.Run(nodeCtx) }, func(error) { stopNode() })
	group.Add(func() error { return api.Serve(apiCtx, a.door, api.NewHandler(backend{a.node, a}, a.log, nil), nil) }, func(error) { stopAPI() })
	if a.tcp != nil {
		group.Add(func() error { return a.serveTCP(apiCtx) }, func(error) { stopAPI() })
	}
	a.log.Info("up", "name", a.id.member.Name, "id", a.id.id, "bind", a.config.Bind, "api", a.config.socket(), "root", a.config.Root)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // there may be no systemd
	started := time.Now()
	err := group.Run()
	a.log.Info("down", "after", time.Since(started).Round(time.Second))
	return err
}

// backend is the node as the API wants it.
type backend struct {
	*node.Node
	a *agent
}

// Store takes objects in without waiting for copies: the push that follows does.
func (b backend) Store() store.Store { return b.Intake() }

// Copied waits for the copies.
func (b backend) Copied() store.Store { return b.Node.Store() }

func (b backend) Self() api.SelfInfo {
	member, env := b.Node.Self()
	root := b.a.config.Root
	if root == "" {
		root = "/"
	}
	info := api.SelfInfo{
		Name: member.Name, ID: member.ID, Zone: member.Zone, Tags: withFacts(member.Tags, b.a.facts), Env: env,
		Version: version, DataDir: b.a.config.DataDir, Root: root,
	}
	if s := b.a.id.standing; s != nil {
		if chain, err := membership.OpenChain(s.Chain); err == nil {
			info.Mesh = chain.Mesh().String()
		}
	}
	return info
}

var _ api.Backend = backend{}
