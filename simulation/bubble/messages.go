package bubble

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"shoal/mesh"
)

// maxMessages is how many messages of the mesh are kept for the page, those sent last.
const maxMessages = 3000

// Message is one that a node has sent to another. Whether it arrived is for the faults to say.
type Message struct {
	At       time.Duration
	From, To string
	What     string // its kind, and what it is about
	Size     int
}

// Clock is the time of the message.
func (m Message) Clock() string { return clock(m.At) }

// messages are the last of them, in a ring.
type messages struct {
	kept []Message
	next int
}

func (m *messages) add(one Message) {
	if len(m.kept) < maxMessages {
		m.kept = append(m.kept, one)
		return
	}
	m.kept[m.next] = one
	m.next = (m.next + 1) % maxMessages
}

// Messages are the last that nodes sent each other, oldest first; gossip is not among them.
func (f *Fabric) Messages() []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(append([]Message(nil), f.said.kept[f.said.next:]...), f.said.kept[:f.said.next]...)
}

// tellOf notes a message for who looks at the page.
func (f *Fabric) tellOf(from *Port, to string, frame []byte) {
	what := "what does not decode"
	if m, err := mesh.Decode(frame); err == nil {
		what = strings.TrimPrefix(fmt.Sprintf("%T", m), "*mesh.")
		for _, name := range []string{"Register", "Env"} {
			if about := reflect.ValueOf(m).Elem().FieldByName(name); about.IsValid() && about.Kind() == reflect.String {
				what += " " + about.String()
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said.add(Message{time.Since(f.began), from.name, to, what, len(frame)})
}
