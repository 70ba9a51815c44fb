package main

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"
)

// secretAsker asks a person for secrets on the terminal of the process, one at a time, while nothing is drawn; nil where there
// is none.
func secretAsker(b *board) func(question string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	_ = tty.Close() // opened again for each question
	return func(question string) ([]byte, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.clear()
		defer b.draw()
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer tty.Close()
		fmt.Fprintf(tty, "%s: ", question)
		secret, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(tty)
		return secret, err
	}
}

// once asks the same question of all machines one time.
func once(ask func(string) ([]byte, error), question string) func() ([]byte, error) {
	if ask == nil {
		return nil
	}
	return sync.OnceValues(func() ([]byte, error) { return ask(question) })
}
