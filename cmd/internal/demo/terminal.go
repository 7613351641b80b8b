package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
)

// Terminal is the screen of a terminal: it is drawn over and over.
type Terminal struct {
	program *tea.Program
	ended   chan error
}

// NewTerminal takes the terminal over until Close. Of keys it knows q and Ctrl-C, and calls quit at each; in may be
// nil, then there are none.
func NewTerminal(in io.Reader, out io.Writer, quit func()) *Terminal {
	options := []tea.ProgramOption{tea.WithAltScreen(), tea.WithoutSignalHandler(), tea.WithOutput(out), tea.WithInput(in)}
	t := &Terminal{program: tea.NewProgram(&view{quit: quit, width: 80, height: 24}, options...), ended: make(chan error, 1)}
	go func() {
		_, err := t.program.Run()
		t.ended <- err
	}()
	return t
}

// Show draws the state.
func (t *Terminal) Show(s *State) {
	c := *s // it is drawn while the demo goes on
	c.Rates = slices.Clone(s.Rates)
	t.program.Send(&c)
}

// Close gives the terminal back.
func (t *Terminal) Close() error {
	t.program.Quit()
	return <-t.ended
}

type view struct {
	quit          func()
	width, height int
	state         *State
	beat          int // counts on while something is waited for whose length is not known
}

type beat struct{}

func (v *view) Init() tea.Cmd {
	return tea.Tick(150*time.Millisecond, func(time.Time) tea.Msg { return beat{} })
}

func (v *view) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		v.width, v.height = m.Width, m.Height
	case tea.KeyMsg:
		if s := m.String(); s == "q" || s == "ctrl+c" {
			v.quit()
		}
	case *State:
		v.state = m
	case beat:
		v.beat++
		if v.state == nil || v.state.Phase == Starting {
			return v, v.Init()
		}
	}
	return v, nil
}

func (v *view) View() string {
	if v.state == nil {
		return ""
	}
	return draw(v.state, v.width, v.height, v.beat)
}

var (
	bold     = lipgloss.NewStyle().Bold(true)
	dim      = lipgloss.NewStyle().Faint(true)
	good     = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	bad      = lipgloss.NewStyle().Foreground(lipgloss.Color("3"))
	severity = map[string]lipgloss.Style{
		"low": lipgloss.NewStyle().Foreground(lipgloss.Color("6")), "medium": lipgloss.NewStyle().Foreground(lipgloss.Color("3")),
		"high": lipgloss.NewStyle().Foreground(lipgloss.Color("1")), "critical": lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true).Reverse(true),
	}
)

// wide is the width from which there is room for a second column.
const wide = 120

// draw gives the whole screen: what it is and how its time runs, the figures, the newest alerts with their reasons,
// and where to ask for more.
func draw(s *State, width, height, beat int) string {
	width, height = max(width, 20), max(height, 8)
	var head []string
	title := bold.Render("astray demo")
	right := ""
	if !s.Clock.IsZero() {
		right = s.Clock.Format("Mon 2006-01-02 15:04") + " UTC"
	}
	switch s.Phase {
	case Starting:
		head = append(head, spread(title, right, width))
	case Draining:
		head = append(head, spread(title+"  ending: what is on the topic is worked through", right, width))
	default:
		head = append(head, spread(title+"  "+s.Pace, right, width))
	}
	head = append(head, "")
	switch {
	case s.Phase == Starting:
		head = append(head, s.What+"  "+bar(s.Progress, width-lipgloss.Width(s.What)-2, beat))
	case s.Phase == History && !s.File:
		const what = "learning from the past"
		head = append(head, what+"  "+bar(s.Progress, width-len(what)-2, beat))
	default:
		head = append(head, dim.Render("events/s ")+spark(s.Rates, width-9))
	}
	figures := []string{
		figure("events", thousands(s.Stored)), bold.Render(thousands(uint64(s.Rate))) + dim.Render("/s"), figure("lag", thousands(uint64(max(s.Lag, 0)))),
		figure("agents", thousands(uint64(s.Agents))),
	}
	if s.Dead > 0 {
		figures = append(figures, figure("dead", thousands(s.Dead)))
	}
	figures = append(figures, figure("alerts", thousands(uint64(len(s.Alerts)))))
	if s.Attacks != nil {
		figures = append(figures, figure("attacks", thousands(uint64(len(s.Attacks)))), figure("found", thousands(uint64(len(s.Found)))))
	}
	head = append(head, ansi.Truncate(strings.Join(figures, "  "), width, "…"))
	rule := dim.Render(strings.Repeat("─", width))
	head = append(head, rule)

	foot := []string{rule}
	if s.Trouble != "" {
		foot = append(foot, bad.Render(ansi.Truncate("database: "+s.Trouble, width, "…")))
	}
	if s.Triage != "" {
		foot = append(foot, ansi.Truncate(s.Triage, width, "…"))
	}
	foot = append(foot, footer(s.Query, width)...)

	room := height - len(head) - len(foot)
	left, gap := width, 0
	var beside []string
	if width >= wide && s.Attacks != nil {
		left, gap = width-width/3-3, 3
		beside = attacks(s, width/3, room)
	}
	body := alerts(s, left, room)
	lines := make([]string, 0, height)
	lines = append(lines, head...)
	for i := range max(room, 0) {
		line := ""
		if i < len(body) {
			line = body[i]
		}
		if i < len(beside) {
			line += strings.Repeat(" ", max(0, left-lipgloss.Width(line)+gap)) + beside[i]
		}
		lines = append(lines, line)
	}
	lines = append(lines, foot...)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width, "…")
	}
	return strings.Join(lines[:min(len(lines), height)], "\n")
}

func figure(name, value string) string { return dim.Render(name+" ") + bold.Render(value) }

// spread puts one text at the left end of a line, and another at its right end if there is room.
func spread(left, right string, width int) string {
	space := width - lipgloss.Width(left) - lipgloss.Width(right)
	if space < 2 {
		return ansi.Truncate(left, width, "…")
	}
	return left + strings.Repeat(" ", space) + dim.Render(right)
}

// bar shows a part of 1. When it is negative nobody knows how far it is, and something moves instead.
func bar(part float64, width, beat int) string {
	if width < 16 {
		return "…"
	}
	n := width - 6
	if part < 0 {
		const long = 6
		at := beat % (n - long)
		return dim.Render(strings.Repeat("░", at)) + strings.Repeat("█", long) + dim.Render(strings.Repeat("░", n-long-at))
	}
	full := int(min(part, 1) * float64(n))
	return strings.Repeat("█", full) + dim.Render(strings.Repeat("░", n-full)) + fmt.Sprintf(" %3.0f %%", 100*min(part, 1))
}

// spark draws rates as bars, the newest at the right end, each the mean of two.
func spark(rates []float64, width int) string {
	const steps = "▁▂▃▄▅▆▇█"
	var pairs []float64
	for i := len(rates); i >= 2; i -= 2 {
		pairs = append(pairs, (rates[i-1]+rates[i-2])/2)
	}
	if len(pairs) > width {
		pairs = pairs[:width]
	}
	most := 0.0
	for _, r := range pairs {
		most = max(most, r)
	}
	var b strings.Builder
	for _, r := range slices.Backward(pairs) {
		k := 0
		if most > 0 {
			k = int(r / most * 7)
		}
		b.WriteRune([]rune(steps)[k])
	}
	return b.String()
}

// footer tells how to ask the database, on as few lines as possible.
func footer(query []string, width int) []string {
	keys := "q ends"
	if len(query) == 0 {
		return []string{dim.Render(keys)}
	}
	all := strings.Join(query, "   ")
	if lipgloss.Width(all)+lipgloss.Width(keys)+2 <= width {
		return []string{spread(all, keys, width)}
	}
	var lines []string
	for _, q := range query[:len(query)-1] {
		lines = append(lines, ansi.Truncate(q, width, "…"))
	}
	return append(lines, spread(query[len(query)-1], keys, width))
}

// alerts gives the newest alerts, the newest first, as many as there is room for.
func alerts(s *State, width, room int) []string {
	var lines []string
	if len(s.Alerts) == 0 {
		text := "no alerts so far"
		if s.Phase == Starting {
			text = ""
		}
		return []string{dim.Render(text)}
	}
	for _, a := range slices.Backward(s.Alerts) {
		style, ok := severity[a.Severity]
		if !ok {
			style = bold
		}
		what := style.Render(fmt.Sprintf("%-8s", a.Severity)) + " " + bold.Render(a.Detector) + " " + a.Entity
		head := dim.Render(a.Time.UTC().Format("02 15:04")) + " " + what
		mark := ""
		switch a.Judgement {
		case Right:
			mark = good.Render("✓ attack, after " + since(a.After))
		case Elsewise:
			mark = bad.Render("~ another attack")
		case False:
			mark = bad.Render("✗ no attack")
		}
		head = ansi.Truncate(head, width-lipgloss.Width(mark)-1, "…")
		head += strings.Repeat(" ", max(1, width-lipgloss.Width(head)-lipgloss.Width(mark))) + mark
		reason := strings.Split(ansi.Wrap(a.Reason, max(width-9, 10), ""), "\n")
		if len(reason) > 3 {
			reason = reason[:3]
			reason[2] = ansi.Truncate(reason[2], max(width-11, 1), "") + " …"
		}
		if len(lines)+1+len(reason) > room {
			break
		}
		lines = append(lines, head)
		for _, r := range reason {
			lines = append(lines, "         "+r)
		}
	}
	return lines
}

// attacks lists those that began, the newest first, and which were found.
func attacks(s *State, width, room int) []string {
	lines := []string{dim.Render("what really happened")}
	for _, k := range slices.Backward(s.Attacks) {
		if len(lines) >= room {
			break
		}
		mark := dim.Render("·")
		switch {
		case s.Found[k.ID]:
			mark = good.Render("✓")
		case s.Clock.Unix() > k.End:
			mark = bad.Render("✗")
		}
		lines = append(lines, mark+" "+ansi.Truncate(k.Kind+": "+k.Note, width-2, "…"))
	}
	return lines
}
