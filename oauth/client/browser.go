package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// OpenBrowser opens an address in the system's browser and does not wait for it. The address is
// parsed, and only http and https are opened; it is one argument of one process, no shell.
func OpenBrowser(_ context.Context, address string) error {
	u, err := parseURL(address)
	if err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	argv, err := browserCommand(runtime.GOOS, os.Getenv)
	if err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	// Not bound to a context: the browser outlives the sign-in.
	command := exec.Command(argv[0], append(argv[1:], u.String())...) //nolint:gosec // argv is ours, the address is parsed
	if err := command.Start(); err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	go func() { _ = command.Wait() }()
	return nil
}

// browserCommand is what opens an address that is appended to it.
func browserCommand(goos string, env func(string) string) ([]string, error) {
	switch goos {
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler"}, nil
	case "darwin":
		return []string{"/usr/bin/open"}, nil
	}
	if env("DISPLAY") == "" && env("WAYLAND_DISPLAY") == "" && env("BROWSER") == "" && env("WSL_DISTRO_NAME") == "" {
		return nil, errors.New("there is no display")
	}
	return []string{"xdg-open"}, nil
}
