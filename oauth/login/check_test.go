package login_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
)

func TestWhatALoginLacksIsSaidWhenTheProgramStarts(t *testing.T) {
	for name, l := range map[string]oauth.Login{
		"GitHub login needs the client id": github.Login("", "secret", nil),
		"and the secret":                   github.Login("id", "", nil),
		"needs an Issuer":                  &oidc.Login{ClientID: "id"},
		"the ClientID":                     &oidc.Login{Issuer: oidc.Google},
	} {
		p := &oauth.Provider{Issuer: "http://127.0.0.1:1", Login: l}
		if _, err := p.Protect(t.Context(), http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}
