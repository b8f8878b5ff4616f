package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/examples/internal/program"
	"github.com/causeway-mcp/causeway/examples/internal/upstream"
	"github.com/causeway-mcp/causeway/internal/person"
)

func TestMain(m *testing.M) { program.TestMain(m, main) }

func start(t *testing.T, issuer string) *program.Program {
	for name, value := range map[string]string{
		"OIDC_ISSUER": issuer, "OIDC_CLIENT_ID": upstream.ClientID, "OIDC_CLIENT_SECRET": upstream.ClientSecret, "ISSUER": "",
	} {
		t.Setenv(name, value)
	}
	return program.Start(t)
}

func TestPeopleSignInAtAnyIssuer(t *testing.T) {
	s := person.New("login", "ada").Connect(t, start(t, upstream.New(t).URL).URL()+"/mcp")
	if got := person.Text(t, s, "whoami", nil); !regexp.MustCompile(`^You are ada <ada@example\.com>, who is \d+ there\.$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestAnIssuerThatIsNotThereSignsNobodyIn(t *testing.T) {
	_, err := person.New("login", "ada").TryConnect(t.Context(), start(t, "http://127.0.0.1:1").URL()+"/mcp")
	if err == nil || !strings.Contains(err.Error(), "server_error") {
		t.Errorf("got %v", err)
	}
}
