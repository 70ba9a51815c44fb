package states

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// jinjaTagNames are the tags, and jinjaEnds what ends those that have a body.
var jinjaTagNames = strings.Fields("autoescape block break call continue do extends filter for from if import include macro raw set with")

// jinjaPartTags are tags that belong into another one.
var jinjaPartTags = strings.Fields("elif else endautoescape endblock endcall endfilter endfor endif endmacro endraw endset endwith")

// placeTags lets every tag that does not parse say where it is: gonja tells the place of some mistakes only.
func placeTags(set *exec.ControlStructureSet) {
	for _, name := range jinjaTagNames {
		parse, ok := set.Get(name)
		if !ok {
			continue
		}
		_ = set.Replace(name, func(p, args *parser.Parser) (nodes.ControlStructure, error) { // it exists
			start := args.Current()
			if start == nil || start.Line == 0 {
				start = p.Current()
			}
			cs, err := parse(p, args)
			if err != nil {
				return nil, placeTag(name, start, args.Current(), err)
			}
			return cs, nil
		})
	}
}

func placeTag(name string, start, at *tokens.Token, err error) error {
	var syntax *parser.SyntaxError
	if errors.As(err, &syntax) {
		switch {
		case strings.HasPrefix(syntax.Message, "Unexpected EOF") && start != nil:
			return &parser.SyntaxError{Line: start.Line, Column: max(1, start.Col-len(name)-1), Raw: name,
				Message: fmt.Sprintf("this %s is not closed: there is no %s", name, lastWord(syntax.Message))}
		case syntax.Line > 0:
			return err
		}
	}
	if at == nil || at.Line == 0 {
		at = start
	}
	message := err.Error()
	if syntax != nil {
		message = syntax.Message
	}
	if at == nil || strings.Contains(message, includeFailed) {
		return err
	}
	return &parser.SyntaxError{Line: at.Line, Column: at.Col, Raw: at.Val, Message: name + ": " + lowerFirst(message)}
}

// lastWord is the end tag that gonja names last.
func lastWord(s string) string {
	words := strings.Fields(strings.TrimSuffix(s, "."))
	return words[len(words)-1]
}
