package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// set is one run of the suite and what must come of it.
type set struct {
	mode string // of the suite: server, client or authorization
	args []string
	// size is how many scenarios must hold: in a requirement set those it
	// scores, elsewhere all there are. A suite that quietly lost scenarios is
	// noticed by it.
	size int
	// checks is how many checks must succeed, where that is part of the rule.
	checks int
}

// excused are the scenarios of which checks may be skipped, with the reason. No
// other check may be.
var excused = map[string]string{
	"tasks-status-notifications":  "the suite skips it itself: it was not rewritten for subscriptions/listen",
	"sep-2640-skills-enumeration": "the Skills extension is not served",
	"sep-2640-skills-manifest":    "the Skills extension is not served",
	"sep-2640-skills-directory":   "the Skills extension is not served",
	"http-standard-headers":       "a client of 2026-07-28 sends neither initialize nor notifications/initialized",
}

var serverSets = []set{
	{mode: "server", args: []string{"--requirements", "2025-11-25"}, size: 30},
	{mode: "server", args: []string{"--requirements", "2026-07-28"}, size: 37},
	{mode: "server", args: []string{"--suite", "all"}, size: 65},
	{mode: "server", args: []string{"--suite", "all", "--spec-version", "2025-06-18"}, size: 27},
	{mode: "server", args: []string{"--suite", "all", "--spec-version", "2025-03-26"}, size: 1},
}

var clientSets = []set{
	{mode: "client", args: []string{"--requirements", "2025-11-25"}, size: 18},
	{mode: "client", args: []string{"--requirements", "2026-07-28"}, size: 32},
	{mode: "client", args: []string{"--suite", "all", "--spec-version", "2025-06-18"}, size: 5},
	{mode: "client", args: []string{"--suite", "backcompat", "--spec-version", "2025-03-26"}, size: 2},
	{mode: "client", args: []string{"--suite", "extensions"}, size: 6},
}

// The suite asks once for a token, so one run is all there is.
var authorizationSet = set{mode: "authorization", size: 2, checks: 3}

func (s set) String() string { return strings.TrimSpace(s.mode + " " + strings.Join(s.args, " ")) }

// requirements is the revision of a requirement set, or empty.
func (s set) requirements() string {
	if len(s.args) > 1 && s.args[0] == "--requirements" {
		return s.args[1]
	}
	return ""
}

// verdict is what a set came to.
type verdict struct {
	set      set
	count    map[outcome]int
	checks   int
	scored   int      // scenarios that count and passed
	want     int      // scenarios that must count
	problems []string // why the set does not hold
	notes    []string // what did not pass and does not count
}

func (v verdict) held() bool { return len(v.problems) == 0 }

// judge compares results with what the set demands. In a requirement set every
// scored scenario must pass without a skipped check, and what is not scored is
// only noted; elsewhere every scenario must.
func (s set) judge(got results) verdict {
	v := verdict{set: s, count: map[outcome]int{}, want: s.size}
	scored := got.scored
	if s.requirements() == "" {
		scored = slices.Collect(maps.Keys(got.scenarios))
	}
	if len(scored) != s.size {
		v.problems = append(v.problems, fmt.Sprintf("%d scenarios count, not %d", len(scored), s.size))
	}
	for _, name := range slices.Sorted(slices.Values(scored)) {
		if _, ran := got.scenarios[name]; !ran {
			v.problems = append(v.problems, name+" did not run")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got.scenarios)) {
		checks := got.scenarios[name]
		result := outcomeOf(checks)
		v.count[result]++
		v.checks += countOf(checks, "SUCCESS")
		counts := slices.Contains(scored, name)
		excuse := excused[name]
		if (result == passed || result == partly && excuse != "") && counts {
			v.scored++
		}
		switch {
		case result == passed:
		case excuse != "" && result == skipped:
			v.notes = append(v.notes, fmt.Sprintf("%s is skipped: %s", name, excuse))
		case excuse != "" && result == partly:
			v.notes = append(v.notes, fmt.Sprintf("%s is skipped in part: %s", name, excuse))
		case counts:
			v.problems = append(v.problems, describe(name, checks)...)
		default:
			v.notes = append(v.notes, fmt.Sprintf("%s is not scored and has %d checks that did not pass", name, len(describe(name, checks))))
		}
	}
	if s.checks > 0 && v.checks != s.checks {
		v.problems = append(v.problems, fmt.Sprintf("%d checks succeeded, not %d", v.checks, s.checks))
	}
	return v
}

func countOf(checks []check, status string) int {
	n := 0
	for _, c := range checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

// describe lists the checks of a scenario that did not succeed.
func describe(name string, checks []check) []string {
	lines := []string{}
	for _, c := range checks {
		if c.Status == "SUCCESS" || c.Status == "INFO" {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s %s: %s", name, c.Status, c.ID, shorten(c.ErrorMessage)))
	}
	if len(checks) == 0 {
		lines = append(lines, name+": no check was made")
	}
	return lines
}

// shorten keeps a message on one line of bounded length.
func shorten(message string) string {
	const enough = 400 // bytes
	message = strings.Join(strings.Fields(message), " ")
	if len(message) > enough {
		message = strings.ToValidUTF8(message[:enough], "") + " …"
	}
	return message
}

// String is one line on the set, and below it what did not pass.
func (v verdict) String() string {
	word := "ok  "
	if !v.held() {
		word = "FAIL"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-54s %2d/%d  scenarios: %d passed, %d skipped, %d warned, %d failed; %d checks",
		word, v.set, v.scored, v.want,
		v.count[passed], v.count[skipped]+v.count[partly], v.count[warned], v.count[failed], v.checks)
	for _, line := range v.problems {
		b.WriteString("\n      " + line)
	}
	for _, line := range v.notes {
		b.WriteString("\n      note: " + line)
	}
	return b.String()
}
