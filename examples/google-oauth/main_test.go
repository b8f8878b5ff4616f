package main

import (
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/causeway-mcp/causeway/examples/internal/upstream"
	"github.com/causeway-mcp/causeway/internal/person"
)

func TestMain(m *testing.M) { program.TestMain(m, main) }

func start(t *testing.T, domain string) *program.Program {
	for name, value := range map[string]string{
		"OIDC_ISSUER": upstream.New(t).URL, "GOOGLE_CLIENT_ID": upstream.ClientID, "GOOGLE_CLIENT_SECRET": upstream.ClientSecret, "GOOGLE_DOMAIN": domain, "ISSUER": "",
	} {
		t.Setenv(name, value)
	}
	return program.Start(t)
}

func TestPeopleOfTheDomainSignIn(t *testing.T) {
	for _, domain := range []string{"", "example.com"} {
		s := person.New("login", "ada").Connect(t, start(t, domain).URL()+"/mcp")
		if got := person.Text(t, s, "whoami", nil); got != "You are ada <ada@example.com>." {
			t.Errorf("got %q", got)
		}
	}
}

func TestOthersDoNot(t *testing.T) {
	_, err := person.New("login", "ada").TryConnect(t.Context(), start(t, "other.example").URL()+"/mcp")
	if err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("got %v", err)
	}
}
