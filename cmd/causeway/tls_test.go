package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/causeway-mcp/causeway/internal/testca"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// certified is an authority, a certificate for this machine, and the flags that use it.
func certified(t *testing.T) (*testca.Authority, []string) {
	t.Helper()
	ca := testca.New(t)
	cert, key := ca.Loopback(t).Write(t, t.TempDir())
	return ca, []string{"-tls-cert", cert, "-tls-key", key}
}

func TestTheDemoOverHTTPS(t *testing.T) {
	ca, flags := certified(t)
	base, _ := startDemo(t, append(flags, "-addr", "127.0.0.1:0")...)
	if !strings.HasPrefix(base, "https://") {
		t.Fatalf("the demo says %s", base)
	}
	ada := person.New("name", "ada")
	ada.Use(ca.Transport(t))
	if got := person.Text(t, ada.Connect(t, base+"/mcp"), "whoami", nil); got != "You are ada." {
		t.Errorf("got %q", got)
	}
}

// People sign in over https to a program on stdio: with the SDK's client, and with
// causeway login and connect, which trust the authority as curl and others do.
func TestExposeOverHTTPS(t *testing.T) {
	ca, flags := certified(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, told := io.Pipe()
	ended := make(chan error, 1)
	args := append(flags, "-addr", "127.0.0.1:0", "-data", t.TempDir(), "-sign-in", "dev",
		"-env", "CAUSEWAY_TEST_PROGRAM=exposed", "-env", "WHO={{.Props.name}}", "--", os.Args[0])
	go func() { ended <- runExpose(ctx, args, told, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, lines)
	endpoint := regexp.MustCompile(`https://\S+/mcp`).FindString(first)
	if endpoint == "" {
		t.Fatalf("it says %q", first)
	}
	for _, name := range []string{"ada", "bob"} {
		p := person.New("name", name)
		p.Use(ca.Transport(t))
		if got := person.Text(t, p.Connect(t, endpoint), "who", nil); got != name {
			t.Errorf("%s is %q", name, got)
		}
	}
	cleo := person.New("name", "cleo")
	cleo.Use(ca.Transport(t))
	if got := bridged(t, ca, cleo, endpoint); got != "cleo" {
		t.Errorf("through causeway connect, cleo is %q", got)
	}
}

// bridged signs a person in with causeway login, and calls the tool with causeway connect.
func bridged(t *testing.T, ca *testca.Authority, p *person.Person, endpoint string) string {
	t.Helper()
	home := t.TempDir()
	root := filepath.Join(home, "root.pem")
	if err := os.WriteFile(root, ca.Root(), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), "CAUSEWAY_TEST_PROGRAM=causeway", "SSL_CERT_FILE="+root, "HOME="+home, "CAUSEWAY_AUTH_DIR="+filepath.Join(home, "auth"),
			"CAUSEWAY_KEYCHAIN=off", "MCP_REMOTE_CONFIG_DIR="+home, "XDG_CACHE_HOME="+home)
		return cmd
	}
	login := program("login", endpoint, "--no-browser")
	says := &finder{pattern: regexp.MustCompile(`https://\S+/authorize\?\S+`)}
	says.found = func(address string) {
		if err := carryOver(t.Context(), p, address); err != nil {
			t.Error(err)
		}
	}
	login.Stderr = says
	if err := login.Run(); err != nil {
		t.Fatalf("login: %v\n%s", err, says.String())
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, nil)
	session, err := c.Connect(t.Context(), &mcp.CommandTransport{Command: program("connect", endpoint, "--non-interactive")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	return person.Text(t, session, "who", nil)
}

// carryOver signs the person in at the address and opens where that leads.
func carryOver(ctx context.Context, p *person.Person, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	back := u.Query().Get("redirect_uri")
	answer, err := p.SignIn(ctx, address, back)
	if err != nil {
		return err
	}
	res, err := http.Get(back + "?" + answer.Encode())
	if err != nil {
		return fmt.Errorf("opening the callback: %w", err)
	}
	return res.Body.Close()
}
