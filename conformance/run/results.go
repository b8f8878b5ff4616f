package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// results are the checks of one run of the suite.
type results struct {
	scenarios map[string][]check
	scored    []string // the scenarios a requirement set demands; nil elsewhere
}

// check is one statement of the suite about the fixture, as in checks.json.
type check struct {
	ID           string `json:"id"`
	Status       string `json:"status"` // SUCCESS, FAILURE, WARNING, SKIPPED, INFO
	ErrorMessage string `json:"errorMessage"`
}

// outcome is what became of a scenario, from best to worst.
type outcome int

const (
	passed  outcome = iota
	partly          // passed, with some check skipped
	skipped         // nothing but skipped checks
	warned
	failed
)

// schemaCheck is made for every scenario that exchanged a message, so it says
// nothing about whether the scenario itself was tested.
const schemaCheck = "wire-schema-valid"

// outcomeOf is the worst that is true of a scenario with these checks. A
// scenario without a check has failed: nothing was shown.
func outcomeOf(checks []check) outcome {
	count := map[string]int{}
	tested := 0
	for _, c := range checks {
		count[c.Status]++
		if c.Status == "SUCCESS" && c.ID != schemaCheck {
			tested++
		}
	}
	known := count["SUCCESS"] + count["FAILURE"] + count["WARNING"] + count["SKIPPED"] + count["INFO"]
	switch {
	case count["FAILURE"] > 0, known < len(checks), len(checks) == 0:
		return failed
	case count["WARNING"] > 0:
		return warned
	case count["SKIPPED"] > 0 && tested == 0:
		return skipped
	case count["SKIPPED"] > 0:
		return partly
	default:
		return passed
	}
}

// startTime is what the suite appends to the name of a scenario's directory.
var startTime = regexp.MustCompile(`-\d{4}-\d\d-\d\dT[-\d]+Z$`)

// readResults reads every checks.json below dir.
func readResults(dir string) (results, error) {
	found := results{scenarios: map[string][]check{}}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "checks.json" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var checks []check
		if err := json.Unmarshal(content, &checks); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		relative, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		found.scenarios[scenarioName(relative)] = checks
		return nil
	})
	if err != nil {
		return results{}, fmt.Errorf("reading the results of the suite: %w", err)
	}
	return found, nil
}

// scenarioName is the scenario whose results are in directory dir: without
// the time it started, and without "server-", which the suite puts before
// server scenarios (some of which begin with it themselves).
func scenarioName(dir string) string {
	name := startTime.ReplaceAllString(filepath.ToSlash(dir), "")
	return strings.TrimPrefix(name, "server-")
}

// readScored reads which scenarios of the given mode (server or client) a
// requirement file scores. The file is YAML, of which it uses one form only:
//
//	server:
//	  - name
func readScored(file, mode string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the requirements: %w", err)
	}
	var scored []string
	section := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n ")
		if key, ok := strings.CutSuffix(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "#") {
			section = key
		}
		if name, ok := strings.CutPrefix(line, "  - "); ok && section == mode {
			scored = append(scored, strings.TrimSpace(name))
		}
	}
	if len(scored) == 0 {
		return nil, fmt.Errorf("the requirements %s score nothing for %s", file, mode)
	}
	return scored, nil
}
