package bubble

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
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
	laneHeight = 64
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
	Events                  []Event
	Messages                []Message
	Nodes                   []NodeResult
	Packets, Streams, Clock string
	end                     time.Duration
}

// Page writes what happened as one HTML page that needs nothing else: a lane for each machine, faults as bands over it.
func (r *Result) Page(w io.Writer) error {
	d := drawing{
		Title: r.Scenario.Title, Width: laneLeft + laneWidth + 20, Left: laneLeft, Events: r.Events, Messages: r.Messages, Nodes: r.Nodes, Clock: clock(r.Virtual),
		end: max(r.Virtual, time.Second),
	}
	if r.Problem != nil {
		d.Problem = r.Problem.Error()
	}
	packets, streams := r.Bytes()
	d.Packets, d.Streams = fmt.Sprintf("%.1f KiB", float64(packets)/1024), fmt.Sprintf("%.1f KiB", float64(streams)/1024)
	top := laneTop + d.network(r.Bands)
	row := map[string]int{}
	for i, n := range r.Nodes {
		row[n.Name] = top + i*laneHeight
		d.Names = append(d.Names, box{X: 4, Y: row[n.Name] + 20, Text: n.Name})
		d.lane(r.Lanes[n.Name], row[n.Name], len(r.Nodes))
	}
	d.Bottom = top + len(r.Nodes)*laneHeight
	d.Height = d.Bottom + 24
	for _, b := range r.Bands {
		d.fault(b, row)
	}
	for i := range 11 {
		at := r.Virtual * time.Duration(i) / 10
		d.Ticks = append(d.Ticks, tick{d.x(at), strings.TrimSuffix(clock(at.Round(time.Second)), ".0")})
	}
	return page.Execute(w, d)
}

func (d *drawing) x(at time.Duration) int {
	return laneLeft + int(float64(laneWidth)*float64(at)/float64(d.end))
}

// span is where a band lies.
func (d *drawing) span(b Band) (x, width int) {
	if b.To < 0 {
		b.To = d.end
	}
	return d.x(b.From), max(2, d.x(b.To)-d.x(b.From))
}

// stretch is a time in which something stays as it is.
type stretch struct {
	Sample
	until time.Duration
}

// stretches joins samples that are the same to key.
func stretches(samples []Sample, end time.Duration, key func(Sample) string) (out []stretch) {
	for i, s := range samples {
		until := end
		if i+1 < len(samples) {
			until = samples[i+1].At
		}
		if last := len(out) - 1; last >= 0 && key(out[last].Sample) == key(s) {
			out[last].until = until
			continue
		}
		out = append(out, stretch{s, until})
	}
	return out
}

// lane draws what a machine applied, the head that it knew, and how many it saw.
func (d *drawing) lane(samples []Sample, y, all int) {
	add := func(s stretch, class, text, title string, y, h int) {
		from, width := d.x(s.At), max(1, d.x(s.until)-d.x(s.At))
		if width < 7*len(text)+4 {
			text = ""
		}
		d.Lanes = append(d.Lanes, box{from, y, width, h, class, text, fmt.Sprintf("%s to %s: %s", clock(s.At), clock(s.until), title)})
	}
	for _, s := range stretches(samples, d.end, func(s Sample) string { return fmt.Sprint(s.Up, s.Applied, s.Result) }) {
		switch {
		case !s.Up:
			add(s, "down", "down", "down", y+4, 24)
		case s.Applied == 0:
			add(s, "none", "nothing yet", "nothing is applied yet", y+4, 24)
		default:
			add(s, classOf(s.Sample), fmt.Sprint("v", s.Applied), fmt.Sprintf("version %d, %s", s.Applied, s.Result), y+4, 24)
		}
	}
	for _, s := range stretches(samples, d.end, func(s Sample) string { return fmt.Sprint(s.Up, s.Alive, s.Head) }) {
		if s.Up {
			class := map[bool]string{true: "small full", false: "small part"}[s.Alive >= all]
			add(s, class, fmt.Sprintf("%d/%d head v%d", s.Alive, all, s.Head), fmt.Sprintf("sees %d of %d, knows version %d", s.Alive, all, s.Head), y+30, 14)
		}
	}
}

func classOf(s Sample) string {
	if s.Result == executor.Converged {
		return fmt.Sprint("v v", s.Applied%6)
	}
	return "failed"
}

// what a band says: its line without its time.
func (b Band) label() string {
	for _, clock := range []string{"at ", "after "} {
		if rest, ok := strings.CutPrefix(b.What, clock); ok {
			_, what, _ := strings.Cut(rest, " ")
			return what
		}
	}
	return strings.TrimPrefix(b.What, "then ")
}

func (b Band) title() string {
	if b.To < 0 {
		return fmt.Sprintf("%s, from %s to the end", b.label(), clock(b.From))
	}
	return fmt.Sprintf("%s, from %s to %s", b.label(), clock(b.From), clock(b.To))
}

// rowHeight is that of a line above the lanes; letter is how wide one is.
const (
	rowHeight = 18
	letter    = 6
)

// network draws the faults of more than one machine above the lanes, so many rows of them that none hides another.
func (d *drawing) network(bands []Band) (height int) {
	var free []int // from where each row has room
	for _, b := range bands {
		if len(b.Nodes) == 1 {
			continue
		}
		x, width := d.span(b)
		at := slices.IndexFunc(free, func(from int) bool { return from <= x })
		if at < 0 {
			at, free = len(free), append(free, 0)
		}
		free[at] = x + max(width, letter*len(b.label())) + 6
		d.Bands = append(d.Bands, box{x, laneTop + at*rowHeight, width, rowHeight - 4, "fault", b.label(), b.title()})
	}
	return len(free) * rowHeight
}

// fault draws a band over the lanes of the machines that it is about.
func (d *drawing) fault(b Band, row map[string]int) {
	x, width := d.span(b)
	nodes := b.Nodes
	if len(nodes) == 0 {
		nodes = slices.Collect(maps.Keys(row))
	}
	for _, name := range nodes {
		band := box{X: x, Y: row[name] + 1, W: width, H: laneHeight - 4, Class: "fault", Title: b.title()}
		if len(nodes) == 1 && width > 4*letter {
			if band.Text = b.label(); len(band.Text)*letter > width {
				band.Text = strings.TrimSpace(band.Text[:width/letter-1]) + "…"
			}
		}
		d.Bands = append(d.Bands, band)
	}
}
