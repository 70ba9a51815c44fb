package states_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"shoal/states"
)

func starTree(source string, more map[string]string) fstest.MapFS {
	fsys := treeOf("", more)
	delete(fsys, "components/app/states.yaml")
	fsys["components/app/states.star"] = &fstest.MapFile{Data: []byte(source)}
	return fsys
}

// What a program could use to take much memory or time from few steps; each is refused by a count, on every machine.
func TestStarlarkIsBounded(t *testing.T) {
	body := func(code string) string {
		return "def states(node, vars):\n  " + strings.ReplaceAll(code, "\n", "\n  ") + "\n  return {}\n"
	}
	for name, source := range map[string]string{
		"repeat":               body(`x = "x" * 1000000000`),
		"repeat, reversed":     body(`x = 1000000000 * "x"`),
		"repeat a list":        body(`x = [1] * 1000000000`),
		"augmented repeat":     body("x = 'x'\nx *= 1000000000"),
		"string doubling":      body("x = 'xxxxxxxx'\nfor i in range(100): x = x + x"),
		"augmented doubling":   body("x = 'xxxxxxxx'\nfor i in range(100): x += x"),
		"list doubling":        body("x = [1, 2]\nfor i in range(100): x = x + x"),
		"list extended":        body("x = [1, 2]\nfor i in range(100): x += x"),
		"list.extend":          body("x = [1, 2]\nfor i in range(100): x.extend(x)"),
		"item doubling":        body("d = {'k': 'xxxx'}\nfor i in range(100): d['k'] += d['k']"),
		"copies of one text":   body("x = 'x' * 1000000\ny = [x + str(i) for i in range(10000)]"),
		"deep recursion":       "def f(n): return f(n + 1)\n" + body("f(0)"),
		"calls by lambdas":     body("f = lambda g, n: g(g, n)\nf(f, 1)"),
		"huge range":           body("x = list(range(1000000000))"),
		"huge range unpacked":  "def f(*a): return 1\n" + body("f(*range(1000000000))"),
		"huge loop":            body("for i in range(1000000000): pass"),
		"huge comprehension":   body("x = [i for i in range(1000000000)]"),
		"nested comprehension": body("x = [1 for i in range(10000) for j in range(10000)]"),
		"join":                 body("x = ('x' * 100000).join(['y'] * 100000)"),
		"join as a key":        body("x = sorted([['y'] * 100000] * 1000, key = ('x' * 10000).join)"),
		"format":               body("x = ('{0}' * 10000).format('x' * 100000)"),
		"format by percent":    body("x = ('%s' * 1000) % tuple(['x' * 1000000] * 1000)"),
		"replace":              body("x = ('x' * 100000).replace('x', 'y' * 100000)"),
		"replace of nothing":   body("x = ('x' * 100000).replace('', 'y' * 100000)"),
		"shared lists":         body("x = ['x']\nfor i in range(100): x = [x, x]\ny = str(x)"),
		"shared tuples, str":   body("x = ('x',)\nfor i in range(100): x = (x, x)\ny = '%s' % x"),
		"shared tuples, hash":  body("x = ('x',)\nfor i in range(100): x = (x, x)\ny = {x: 1}"),
		"shared tuples, index": body("x = ('x',)\nfor i in range(100): x = (x, x)\ny = {}\ny[x] = 1"),
		"shared tuples, in":    body("x = ('x',)\nfor i in range(100): x = (x, x)\ny = x in {}"),
		"shared lists, ==":     body("a = [1] * 1000\nb = [a] * 1000\nc = [b] * 1000\ny = c == list(c)"),
		"frozen tuples":        "x = ('x',)\nfor i in range(100): x = (x, x)\n" + body("pass"),
		"frozen in a closure":  "def mk():\n  x = ('x',)\n  for i in range(100): x = (x, x)\n  return lambda: x\nf = mk()\n" + body("pass"),
		"a list in itself":     "x = []\nx.append(x)\n" + body("pass"),
		"deep list":            "x = []\nfor i in range(100000): x = [x]\n" + body("pass"),
		"deep result":          "def states(node, vars):\n  x = {}\n  for i in range(1000): x = {'x': x}\n  return x\n",
		"shared result":        "def states(node, vars):\n  x = ['x']\n  for i in range(60): x = [x, x]\n  return {'states': x}\n",
		"numbers":              body("x = 3\nfor i in range(100): x = x * x"),
		"shifts":               body("x = 3\nfor i in range(100000): x = x << 500"),
		"int of a long text":   body("x = int('9' * 1000000)"),
		"slices":               body("x = [1] * 1000000\nfor i in range(1000): y = x[1:]"),
		"zip of ranges":        body("x = zip(range(1000000000), range(1000000000))"),
		"enumerate":            body("x = enumerate(range(1000000000))"),
		"split":                body("x = ',' * 10000000\ny = x.split(',')"),
		"nested brackets":      strings.Repeat("(", 500_000) + strings.Repeat(")", 500_000),
		"a long sum":           "x = 1" + strings.Repeat("+1", 500_000) + "\n",
		"many nots":            "x = " + strings.Repeat("not ", 250_000) + "1\n",
		"many lambdas":         "x = " + strings.Repeat("lambda:", 140_000) + "1\n",
		"many elifs":           "if 1:\n  pass\n" + strings.Repeat("elif 1:\n  pass\n", 60_000),
		"a long number":        "x = " + strings.Repeat("9", 1_000_000) + "\n",
		"deep indentation":     deepStar(1000),
	} {
		t.Run(name, func(t *testing.T) {
			got := refused(t, starTree(source, nil))
			if !strings.Contains(got, "more than") && !strings.Contains(got, "deeper than") && !strings.Contains(got, "recursively") &&
				!strings.Contains(got, "excessive") && !strings.Contains(got, "too large") {
				t.Errorf("got %.300s", got)
			}
		})
	}
}

func deepStar(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "if 1:\n")
	}
	b.WriteString(strings.Repeat(" ", n) + "pass\n")
	return b.String()
}

// A loaded file is run once for all nodes, so that nothing a node does can reach another.
func TestStarlarkModulesAreFrozen(t *testing.T) {
	fsys := starTree("load('lib.star', 'seen')\ndef states(node, vars):\n  seen.append(node.name)\n  return {}\n", map[string]string{"components/app/lib.star": "seen = []\n"})
	if got := refused(t, fsys); !strings.Contains(got, "frozen") {
		t.Errorf("got %s", got)
	}
	fsys = starTree("def states(node, vars):\n  vars['x'] = 1\n  return {}\n", nil)
	if got := refused(t, fsys); !strings.Contains(got, "frozen") {
		t.Errorf("got %s", got)
	}
}

func TestStarlark(t *testing.T) {
	fsys := starTree(`
load("//components/lib/web.star", "site", port = "default_port")
load("lib/more.star", "more")

def states(node, vars):
    print("goes nowhere")
    out = {}
    for i, name in enumerate(vars["sites"]):
        out["site-" + name] = site(name, port + i)
    out["who"] = {"file.managed": {"path": "/who", "content": "%s %s %s ${name}\n" % (node.name, node.tags["role"], node.zone or "-")}}
    d = {"n": 1}
    d["n"] += 2
    d["n"] *= 2
    l = [1]
    l += [2, 3]
    out["more"] = {"file.managed": {"path": "/more", "content": more(l, d["n"])}}
    return {"states": out}
`, map[string]string{
		"components/app/defaults.yaml": "sites: [b, a]\n",
		"components/lib/web.star":      "default_port = 8000\ndef site(name, port): return {\"file.managed\": {\"path\": \"/srv/\" + name, \"content\": \"port {}\\n\".format(port)}}\n",
		"components/app/lib/more.star": "def more(l, n): return \",\".join([str(x) for x in l if x != 2]) + \" %d\" % n\n",
	})
	plan := mustCompile(t, fsys, states.Node{Name: "web-1", Tags: map[string]string{"role": "web"}})
	var ids []string
	for _, inv := range plan.Invocations {
		ids = append(ids, inv.ID)
	}
	if got := strings.Join(ids, " "); got != "app/site-b app/site-a app/who app/more" {
		t.Errorf("the order written is lost: %s", got)
	}
	for id, want := range map[string]string{"app/site-b": "port 8000\n", "app/site-a": "port 8001\n", "app/who": "web-1 web - web-1\n", "app/more": "1,3 6"} {
		if got := rendered(t, plan, id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}
