package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long the fixture may take to start, and to stop.
const patience = 30 * time.Second

// fixture is a running conformance/server or conformance/authserver.
type fixture struct {
	url     string
	command *exec.Cmd
	log     *os.File
}

// buildFixture builds a main package of the module into dir. The suite starts
// clients through a shell that splits at spaces, so dir must not have any.
func buildFixture(ctx context.Context, root, pkg, dir string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(pkg)+".bin")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// startFixture builds a server of the module and starts it on a free port of the
// loopback interface. Its log goes to a file in dir.
func startFixture(ctx context.Context, root, pkg, dir string, args ...string) (*fixture, error) {
	binary, err := buildFixture(ctx, root, pkg, dir)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, filepath.Base(pkg)+".log"))
	if err != nil {
		return nil, fmt.Errorf("making the fixture's log: %w", err)
	}
	f := &fixture{command: exec.Command(binary, append(args, "-addr", "127.0.0.1:0")...), log: log}
	f.command.Stderr = log
	stdout, err := f.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("connecting to the fixture: %w", err)
	}
	if err := f.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the fixture: %w", err)
	}
	started := time.AfterFunc(patience, func() { _ = f.command.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	started.Stop()
	if err != nil {
		_ = f.stop()
		return nil, fmt.Errorf("the fixture did not start: %w\n%s", err, tail(log.Name()))
	}
	f.url = strings.TrimSpace(line)
	return f, nil
}

// stop ends the fixture. One that had died before, or that does not drain and
// leave with status 0, is an error: no scenario may break the server for the
// next.
func (f *fixture) stop() error {
	defer f.log.Close()
	if err := f.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the fixture: %w", err)
	}
	kill := time.AfterFunc(patience, func() { _ = f.command.Process.Kill() })
	defer kill.Stop()
	if err := f.command.Wait(); err != nil {
		return fmt.Errorf("the fixture did not stop cleanly: %w\n%s", err, tail(f.log.Name()))
	}
	return nil
}
