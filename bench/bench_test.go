package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The whole bench, in rounds too short to measure anything: every server answers
// every shape of request rightly, or this fails.
func TestEveryServerAnswersRightly(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs all servers")
	}
	file := filepath.Join(t.TempDir(), "result.json")
	err := run([]string{"-rounds", "1", "-d", "50ms", "-warm", "10ms", "-clients", "4", "-mem", "-count", "200", "-sleep", "100ms", "-json", file})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(b, &results); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, g := range groups() {
		want += len(g.variants)
	}
	if len(results) != 1 || len(results[0].Rows) != want || len(results[0].Memory) == 0 || len(results[0].Gates) == 0 {
		t.Fatalf("not all is there: %s", b)
	}
	for _, r := range results[0].Rows {
		if r.PerSecond <= 0 || r.CPU <= 0 || r.P50 <= 0 || r.Objects <= 0 {
			t.Errorf("%s, %s: nothing was measured: %+v", r.Group, r.Server, r)
		}
	}
}

func TestAWrongAnswerEndsTheBench(t *testing.T) {
	srv, err := buildServers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.remove(); err != nil {
			t.Error(err)
		}
	})
	// A server that answers as JSON where an event stream is expected.
	v := variant{name: "bare", era: stateless, events: true, program: command("bare")}
	s, err := openSite(srv, group{name: "a test"}, v, "100", 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.measure(0, 20*time.Millisecond); err == nil {
		t.Error("it was measured")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-slack", "0"}, {"-slack", "1.1"}, {"-clients", "-1"}, {"typo"}, {"-d", "0s"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q passes", args)
		}
	}
}
