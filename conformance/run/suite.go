package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const suitePackage = "@modelcontextprotocol/conformance"

// suite is the installed conformance suite.
type suite struct {
	dir string // the npm folder
	out string // where results and logs go
}

// openSuite returns the suite in the npm folder dir, which it installs first
// if what the lock file names is not there.
func openSuite(ctx context.Context, dir, out string) (*suite, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return nil, fmt.Errorf("finding the results directory: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("making the results directory: %w", err)
	}
	s := &suite{dir: dir, out: out}
	installed, err := s.installed()
	if err != nil {
		return nil, err
	}
	if installed {
		return s, nil
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
	npm.Dir = dir
	npm.Stdout, npm.Stderr = os.Stderr, os.Stderr
	if err := npm.Run(); err != nil {
		return nil, fmt.Errorf("installing the suite with npm ci in %s: %w", dir, err)
	}
	return s, nil
}

// installed reports whether the suite and Node are there in the versions that
// package.json demands.
func (s *suite) installed() (bool, error) {
	var wanted struct{ DevDependencies map[string]string }
	if err := readJSON(filepath.Join(s.dir, "package.json"), &wanted); err != nil {
		return false, err
	}
	for name, version := range wanted.DevDependencies {
		var found struct{ Version string }
		err := readJSON(filepath.Join(s.dir, "node_modules", name, "package.json"), &found)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if found.Version != version {
			return false, nil
		}
	}
	// The package "node" fetches the binary itself after it was installed.
	_, err := os.Stat(s.node())
	return err == nil, nil
}

func (s *suite) node() string { return filepath.Join(s.dir, "node_modules", "node", "bin", "node") }

func (s *suite) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir, "node_modules", suitePackage}, elements...)...)
}

// scenarioTime is how many milliseconds a scenario may take. The suite starts
// all clients of a set at once, which a small machine needs time for.
const scenarioTime = "120000"

// run executes one set against target (for example "--url", URL) and returns
// the checks of every scenario. That scenarios fail is not an error; that the
// suite did not run is.
func (s *suite) run(ctx context.Context, set set, target ...string) (results, error) {
	return s.runWatched(ctx, set, io.Discard, target...)
}

// runWatched is run, and watch is told what the suite prints.
func (s *suite) runWatched(ctx context.Context, set set, watch io.Writer, target ...string) (results, error) {
	label := strings.NewReplacer(" --", "-", " ", "-").Replace(set.String())
	checks := filepath.Join(s.out, label)
	if err := os.RemoveAll(checks); err != nil {
		return results{}, fmt.Errorf("removing earlier results: %w", err)
	}
	log, err := os.Create(checks + ".log")
	if err != nil {
		return results{}, fmt.Errorf("making the log of a set: %w", err)
	}
	defer log.Close()

	args := append([]string{s.path("dist", "index.js"), set.mode, "--output-dir", checks}, target...)
	if set.mode != authorizationSet.mode { // which has no such option
		args = append(args, "--timeout", scenarioTime)
	}
	args = append(args, set.args...)
	command := exec.CommandContext(ctx, s.node(), args...)
	// The bundled Node comes first: the suite starts helpers by the name node.
	command.Env = append(os.Environ(),
		"PATH="+filepath.Dir(s.node())+string(os.PathListSeparator)+os.Getenv("PATH"),
		"NODE_OPTIONS=--require "+filepath.Join(s.dir, "bind-local.cjs"))
	command.Stdout, command.Stderr = io.MultiWriter(log, watch), log
	runErr := command.Run()
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		return results{}, fmt.Errorf("running the suite: %w", runErr)
	}
	found, err := readResults(checks)
	if err != nil {
		return results{}, err
	}
	if len(found.scenarios) == 0 {
		return results{}, fmt.Errorf("%s left no results (%v)\n%s", set, runErr, tail(log.Name()))
	}
	if set.requirements() != "" {
		found.scored, err = readScored(s.path("requirements", set.requirements()+".yaml"), set.mode)
	}
	return found, err
}

// tail is the end of a log file, for an error message.
func tail(file string) string {
	const enough = 2000 // bytes
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-enough):])
}

func readJSON(file string, into any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading what is installed: %w", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	return nil
}
