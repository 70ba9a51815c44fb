package states

import (
	"io/fs"
	"path"
	"strings"
)

// site is site.yaml as read: what does not depend on a node.
type site struct {
	groups    map[string]string
	targets   []target
	policy    Policy
	selectors *selectors
	// extensions are the modules of the site by name, those without a mistake.
	extensions map[string]Extension
}

type target struct {
	on         named
	components []named
	roles      []named
	variables  *docNode
	from       []named // variable files
}

func defaultPolicy() Policy {
	return Policy{Order: Genius, OnFailure: "rollback", OnRemove: "restore", Drift: "enforce", CommandOutputs: "deny"}
}

// document reads name as YAML or JSON by its suffix. It reports what is wrong and returns nil then.
func (l *Catalogue) document(name string) *docNode {
	l.once("document "+name, func() {
		data, err := l.tree.read(name, MaxDocumentBytes)
		if err != nil {
			l.problems.add(Place{File: name}, "", "%s %s", path.Base(name), reason(err))
			return
		}
		l.documents[name] = l.unwrap(l.parse(name, data))
	})
	return l.documents[name]
}

func (l *Catalogue) parse(name string, data []byte) *docNode {
	read := readYAML
	if strings.HasSuffix(name, ".json") {
		read = readJSON
	}
	n, errs := read(name, data)
	l.problems.addAll(errs)
	return n
}

// oneForm finds which of a document's forms is there; more than one is a problem.
func (l *Catalogue) oneForm(stem string, suffixes ...string) string {
	found := ""
	for _, suffix := range suffixes {
		name := stem + suffix
		if !l.tree.exists(name) {
			continue
		}
		if found != "" {
			l.problems.add(Place{File: name}, "keep one of them", "%s and %s are two forms of one document", path.Base(found), path.Base(name))
			continue
		}
		found = name
	}
	return found
}

func (l *Catalogue) readSite() site {
	s := site{groups: map[string]string{}, policy: defaultPolicy()}
	name := l.oneForm("site", ".yaml", ".json")
	if name == "" {
		hint := ""
		if _, err := fs.Stat(l.tree.fsys, "."); err != nil {
			hint = "the tree cannot be read: " + reason(err)
		}
		l.problems.add(Place{File: "site.yaml"}, hint, "a tree needs a site.yaml or site.json")
		return s
	}
	for _, e := range l.problems.mapOf(l.document(name), path.Base(name)) {
		switch e.key {
		case "groups":
			l.readGroups(&s, e.value)
		case "targets":
			for _, item := range l.problems.listOf(e.value, "targets") {
				s.targets = append(s.targets, l.readTarget(item))
			}
		case "policy":
			l.readPolicy(&s.policy, e.value)
		case "modules":
			s.extensions = l.readModules(e.value)
		default:
			l.problems.unknownKey(e, "a site", siteKeys)
		}
	}
	l.checkSelectors(&s)
	return s
}

func (l *Catalogue) readGroups(s *site, n *docNode) {
	for _, e := range l.problems.mapOf(n, "groups") {
		if !groupName.MatchString(e.key) {
			l.problems.add(e.place, "letters, digits and _ only: it is used as group."+"NAME in expressions", "%q cannot be the name of a group", e.key)
			continue
		}
		if text, ok := l.problems.stringOf(e.value, "a group"); ok {
			s.groups[e.key] = text
			l.groupPlaces[e.key] = e.value.place
		}
	}
}

func (l *Catalogue) readTarget(n *docNode) target {
	var t target
	for _, e := range l.problems.mapOf(n, "a target") {
		switch e.key {
		case "on":
			if text, ok := l.problems.stringOf(e.value, "on"); ok {
				t.on = named{text, e.value.place}
			}
		case "components":
			t.components = l.problems.namesOf(e.value, "components")
		case "roles":
			t.roles = l.problems.namesOf(e.value, "roles")
		case "variables":
			l.problems.mapOf(e.value, "variables")
			t.variables = e.value
		case "variables_from":
			t.from = l.problems.namesOf(e.value, "variables_from")
		default:
			l.problems.unknownKey(e, "a target", targetKeys)
		}
	}
	if n.kind == kindMap && n.get("on") == nil {
		l.problems.add(n.place, `write on: "*" for every node`, "a target needs on:")
	}
	return t
}

func (l *Catalogue) readPolicy(p *Policy, n *docNode) {
	c := l.problems
	set := func(field *string, e docEntry) {
		if s := c.oneOf(e.value, e.key, wordsOf(policyTable, e.key)...); s != "" {
			*field = s
		}
	}
	for _, e := range c.mapOf(n, "policy") {
		switch e.key {
		case "order":
			set((*string)(&p.Order), e)
		case "on_failure":
			set(&p.OnFailure, e)
		case "on_remove":
			set(&p.OnRemove, e)
		case "drift":
			set(&p.Drift, e)
		case "command_outputs":
			set(&p.CommandOutputs, e)
		default:
			c.unknownKey(e, "policy", policyKeys)
		}
	}
}

// checkSelectors finds what is wrong with selectors whatever the node.
func (l *Catalogue) checkSelectors(s *site) {
	var err error
	if s.selectors, err = newSelectors(s.groups); err != nil {
		l.problems.add(Place{File: "site.yaml"}, "", "%s", err)
		return
	}
	for _, g := range keysOf(s.groups) {
		if e := s.selectors.check(s.groups[g]); e != nil {
			l.problems.add(l.inString(l.groupPlaces[g], e.offset), e.hint, "group %s: %s", g, e.message)
		}
	}
	for _, t := range s.targets {
		if t.on.name == "" && t.on.place.Line == 0 {
			continue
		}
		if e := s.selectors.check(t.on.name); e != nil {
			l.problems.add(l.inString(t.on.place, e.offset), e.hint, "selector %q: %s", shorten(t.on.name), e.message)
		}
	}
}

// inString is the place of a byte of a plain or quoted string that is written at p.
func (l *Catalogue) inString(p Place, offset int) Place {
	if offset < 0 {
		return p
	}
	line := l.tree.line(p)
	if p.Column <= len(line) && p.Column > 0 && (line[p.Column-1] == '"' || line[p.Column-1] == '\'') {
		offset++
	}
	p.Column += offset
	return p
}
