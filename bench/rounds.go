package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// plan is how throughput is measured.
type plan struct {
	servers  servers
	rounds   int
	warm     time.Duration
	length   time.Duration
	clients  int
	gogc     string
	profiles string // a directory for profiles of Causeway, "" for none
	only     string // groups whose name contains it
	log      io.Writer
}

// A series is what one variant did, round by round, beside the bare handler of its
// group.
type series struct {
	group   group
	variant variant
	windows []window
	bare    []window
}

// runGroups measures one group after the other. Within a round the variants of a group
// take short turns, in another order each time, so that what the machine does
// meanwhile hits all of them alike.
func (p plan) runGroups() ([]series, error) {
	var all []series
	for _, g := range groups() {
		if !strings.Contains(g.name, p.only) {
			continue
		}
		s, err := p.runGroup(g)
		if err != nil {
			return nil, err
		}
		all = append(all, s...)
	}
	if all == nil {
		return nil, fmt.Errorf("no group's name contains %q", p.only)
	}
	return all, nil
}

func (p plan) runGroup(g group) (out []series, err error) {
	var sites []*site
	defer func() {
		for _, s := range sites {
			err = errors.Join(err, s.close())
		}
	}()
	for _, v := range g.variants {
		s, err := openSite(p.servers, g, v, p.gogc, p.clients)
		if err != nil {
			return nil, err
		}
		sites = append(sites, s)
		out = append(out, series{group: g, variant: v})
	}
	for round := range p.rounds {
		fmt.Fprintf(p.log, "\r%s: round %d of %d ", g.name, round+1, p.rounds)
		tallies, err := p.round(sites, round)
		if err != nil {
			return nil, err
		}
		for i := range tallies {
			out[i].windows = append(out[i].windows, tallies[i].window())
		}
	}
	fmt.Fprintln(p.log)
	for i := range out {
		out[i].bare = out[0].windows
		if p.profiles != "" && out[i].variant.program.name == "causeway" {
			if err := p.profile(sites[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// turnsPerRound is how many turns each variant has in a round. Many short turns meet the same
// weather; one long turn each does not.
const turnsPerRound = 5

// round lets every site take its turns.
func (p plan) round(sites []*site, round int) ([]tally, error) {
	tallies := make([]tally, len(sites))
	for slice := range turnsPerRound {
		for turn := range sites {
			i := (round + slice + turn) % len(sites)
			t, err := sites[i].measure(p.warm/turnsPerRound, p.length/turnsPerRound)
			if err != nil {
				return nil, err
			}
			tallies[i].add(t)
		}
	}
	return tallies, nil
}

// profile loads the site once more, after all rounds, so that profiling disturbs no
// figure.
func (p plan) profile(s *site) error {
	cpu, err := profileFile(p.profiles, s.child.name, "cpu")
	if err != nil {
		return err
	}
	allocs, err := profileFile(p.profiles, s.child.name, "allocs")
	if err != nil {
		return err
	}
	if _, err := s.child.order("profile", cpu); err != nil {
		return err
	}
	if _, err := s.measure(0, max(5*time.Second, p.length)); err != nil {
		return err
	}
	if _, err := s.child.order("profiled"); err != nil {
		return err
	}
	_, err = s.child.order("allocs", allocs)
	return err
}

// profileFile is where the profile of a server goes.
func profileFile(dir, name, kind string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	name = strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(name)
	return filepath.Abs(filepath.Join(dir, name+"."+kind))
}
