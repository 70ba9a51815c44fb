package fake

import (
	"strings"

	"shoal/executor"
)

// exec plays the few commands that tests of modules need: true, false, echo TEXT, and those in a script of sh -c, joined by
// ";". echo TEXT >&2 goes to standard error, exit N ends.
func exec(cmd executor.Command) executor.Exit {
	argv := cmd.Argv
	if len(argv) == 3 && argv[1] == "-c" {
		return script(argv[2])
	}
	return simple(argv)
}

func script(text string) (exit executor.Exit) {
	for _, part := range strings.Split(text, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		one := simple(words)
		exit.Status = one.Status
		exit.Stdout = append(exit.Stdout, one.Stdout...)
		exit.Stderr = append(exit.Stderr, one.Stderr...)
		if words[0] == "exit" {
			return exit
		}
	}
	return exit
}

func simple(words []string) executor.Exit {
	switch words[0] {
	case "true", "/bin/true", ":":
		return executor.Exit{}
	case "false", "/bin/false":
		return executor.Exit{Status: 1}
	case "exit":
		status := 0
		for _, digit := range strings.Join(words[1:], "") {
			status = (status*10 + int(digit-'0')) & 0xff
		}
		return executor.Exit{Status: status}
	case "echo":
		text, stderr := strings.CutSuffix(strings.Join(words[1:], " "), " >&2")
		if stderr {
			return executor.Exit{Stderr: []byte(text + "\n")}
		}
		return executor.Exit{Stdout: []byte(text + "\n")}
	}
	return executor.Exit{Status: 127, Stderr: []byte(words[0] + ": not found\n")}
}
