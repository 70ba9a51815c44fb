package bubble

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"shoal/executor"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// The page's sizes in pixels.
const (
	laneLeft   = 110
	laneWidth  = 1080
	laneHeight = 54
	laneTop    = 34
)

// box is something on the page.
type box struct {
	X, Y, W, H int
	Class      string
	Text       string
	Title      string
}

type tick struct {
	X    int
	Text string
}

type drawing struct {
	Title, Problem, Answer  string
	Width, Height, Bottom   int
	Left                    int
	Ticks                   []tick
	Names, Lanes, Bands     []box
	Heads                   []box
	Events                  []Event
	Nodes                   []NodeResult
	Packets, Streams, Clock string
}

// Page writes what happened as one HTML page that needs nothing else: a lane for each machine, faults as bands over it.
func (r *Result) Page(w io.Writer) error {
	d := drawing{
		Title: r.Scenario.Title, Width: laneLeft + laneWidth + 20, Left: laneLeft, Events: r.Events, Nodes: r.Nodes, Clock: clock(r.Virtual),
	}
	if r.Problem != nil {
		d.Problem = r.Problem.Error()
	}
	packets, streams := r.Bytes()
	d.Packets, d.Streams = fmt.Sprintf("%.1f KiB", float64(packets)/1024), fmt.Sprintf("%.1f KiB", float64(streams)/1024)
	x := func(at time.Duration) int {
		return laneLeft + int(float64(laneWidth)*float64(at)/float64(max(r.Virtual, time.Second)))
	}
	row := map[string]int{}
	for i, n := range r.Nodes {
		row[n.Name] = laneTop + i*laneHeight
		d.Names = append(d.Names, box{X: 4, Y: row[n.Name] + 20, Text: n.Name})
		d.lane(r.Lanes[n.Name], row[n.Name], len(r.Nodes), r.Virtual, x)
	}
	d.Bottom = laneTop + len(r.Nodes)*laneHeight
	d.Height = d.Bottom + 24
	for _, b := range r.Bands {
		if b.To < 0 {
			b.To = r.Virtual
		}
		d.fault(b, row, x)
	}
	for i := range 11 {
		at := r.Virtual * time.Duration(i) / 10
		d.Ticks = append(d.Ticks, tick{x(at), clock(at.Round(time.Second))})
	}
	return page.Execute(w, d)
}

// lane draws what a machine applied, the head that it knew, and how many it saw.
func (d *drawing) lane(samples []Sample, y, all int, end time.Duration, x func(time.Duration) int) {
	for i, s := range samples {
		until := end
		if i+1 < len(samples) {
			until = samples[i+1].At
		}
		from, width := x(s.At), max(1, x(until)-x(s.At))
		class, text := "down", "down"
		if s.Up {
			class, text = classOf(s), fmt.Sprint("v", s.Applied)
			if s.Applied == 0 {
				text = "nothing yet"
			}
		}
		title := fmt.Sprintf("%s to %s: applied version %d (%s), head %d, sees %d of %d", clock(s.At), clock(until), s.Applied, s.Result, s.Head, s.Alive, all)
		if !s.Up {
			title = fmt.Sprintf("%s to %s: down", clock(s.At), clock(until))
		}
		d.Lanes = append(d.Lanes, box{X: from, Y: y + 4, W: width, H: 24, Class: class, Text: fitting(text, width, i, samples), Title: title})
		if s.Up {
			view := "full"
			if s.Alive < all {
				view = "part"
			}
			d.Heads = append(d.Heads, box{X: from, Y: y + 30, W: width, H: 14, Class: view, Text: fitting(fmt.Sprintf("%d/%d  head v%d", s.Alive, all, s.Head), width, 0, nil), Title: title})
		}
	}
}

// fitting leaves out a text that has no room, or that was said just before.
func fitting(text string, width, i int, samples []Sample) string {
	if width < 7*len(text)+4 {
		return ""
	}
	if i > 0 && i < len(samples) && samples[i-1].Applied == samples[i].Applied && samples[i-1].Up == samples[i].Up {
		return ""
	}
	return text
}

func classOf(s Sample) string {
	switch s.Result {
	case executor.Converged:
		return fmt.Sprint("v v", s.Applied%6)
	case "":
		return "none"
	}
	return "failed"
}

func (d *drawing) fault(b Band, row map[string]int, x func(time.Duration) int) {
	nodes := b.Nodes
	if len(nodes) == 0 {
		for name := range row {
			nodes = append(nodes, name)
		}
		slices.Sort(nodes)
	}
	title := fmt.Sprintf("%s, from %s to %s", b.What, clock(b.From), clock(b.To))
	for _, name := range nodes {
		d.Bands = append(d.Bands, box{X: x(b.From), Y: row[name] + 1, W: max(2, x(b.To)-x(b.From)), H: laneHeight - 4, Class: "fault", Title: title,
			Text: fitting(strings.TrimSpace(b.What), x(b.To)-x(b.From), 0, nil)})
	}
}
