package membership

import "time"

// Status is what gossip says of a node. It is a hint about liveness and grants nothing.
type Status string

// The statuses, as `shoal members` prints them.
const (
	Alive   Status = "alive"
	Suspect Status = "suspect"
	Failed  Status = "failed"
	Left    Status = "left"
)

// MaxHint is the longest hint in bytes; state is always pulled, so a hint only has to name it.
const MaxHint = 200

// Event is what the gossip tells the node: either a member changed (Status is set) or a hint came (Hint is set), from Node as
// far as it says.
type Event struct {
	Node   NodeID
	Addr   string // IP:port of the member, for the one UDP and TCP port
	Status Status
	Hint   []byte
}

// Member is one line of the roster: what an operator granted to a node.
type Member struct {
	ID      NodeID
	Name    string
	Tags    map[string]string
	Zone    string
	Expires time.Time // zero: never
}
