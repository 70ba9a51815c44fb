package doccheck

import (
	"fmt"
	"os"
	"testing"

	"shoal/states"
)

func TestProbe(t *testing.T) {
	dir := os.Getenv("TREE")
	if dir == "" {
		return
	}
	if os.Getenv("VALIDATE") != "" {
		fmt.Println(states.Validate(os.DirFS(dir), nil, functions()))
		return
	}
	p, err := states.Compile(os.DirFS(dir), node, functions())
	fmt.Println(err)
	if err == nil {
		for i, in := range p.Invocations {
			fmt.Println(i, in.ID, in.Skip, in.Lazy)
			for _, e := range p.Edges {
				if e.To == i {
					fmt.Println("    <-", p.Invocations[e.From].ID, e.Kind, e.Reason)
				}
			}
			for _, part := range in.Parts {
				fmt.Println("   ", part.FullName(), part.Params)
			}
		}
		for h, b := range p.Rendered {
			fmt.Printf("%s %q\n", h[:14], b)
		}
	}
}
