// Extserver is a provider with every extension on, for tests by libraries that are not
// ours (e2e/extensions). It serves resources that say who calls.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` of loopback to listen on")
	data := flag.String("data", "", "`directory` to keep grants in")
	keys := flag.String("keys", "", "public keys of the client that signs and of the identity provider, a JWK set")
	secret := flag.String("secret", "", "secret of all other clients")
	flag.Parse()
	if err := run(*addr, *data, *keys, *secret); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr, data, keys, secret string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	disk, err := local.Open(data, nil)
	if err != nil {
		return err
	}
	defer disk.Close()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String()
	p := provider(base, keys, secret)
	p.Records, p.Keys, p.Logger = disk, oauth.NewKeys(), slog.New(slog.NewTextHandler(os.Stderr, nil))
	h, err := p.Protect(ctx, http.HandlerFunc(whoAmI))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	fmt.Println(base)
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// provider has a resource for each form of token, and a client for each extension.
func provider(base, keys, secret string) *oauth.Provider {
	scopes := []oauth.Scope{{Name: "read"}, {Name: "write", Includes: []string{"read"}}}
	own := []oauth.Access{{Resource: base + "/mcp", Scopes: []string{"write"}}}
	for _, path := range []string{"/es256", "/rs256", "/eddsa"} {
		own = append(own, oauth.Access{Resource: base + path, Scopes: []string{"read"}})
	}
	return &oauth.Provider{
		Issuer: base, Login: login.Dev(),
		Resources: []oauth.Resource{
			{Path: "/mcp", Scopes: scopes, Require: []string{"read"}},
			{Path: "/es256", Scopes: scopes, JWT: &oauth.JWT{}},
			{Path: "/rs256", Scopes: scopes, JWT: &oauth.JWT{Alg: "RS256"}},
			{Path: "/eddsa", Scopes: scopes, JWT: &oauth.JWT{Alg: "EdDSA"}},
		},
		Clients: []oauth.Client{
			{ID: "signer", Keys: keys, Service: own},
			{ID: "robot", Secret: secret, Service: own},
			{ID: "desk", Secret: secret},
			{ID: "rs", Secret: secret, Introspects: []string{base + "/mcp", base + "/es256"}},
		},
		TokenExchanges: []oauth.TokenExchange{{Client: "rs", To: []string{base + "/es256"}}},
		TrustedIssuers: []oauth.TrustedIssuer{{Issuer: "https://idp.example", Keys: keys, Clients: []string{"desk"}}},
		DPoP:           &oauth.DPoP{},
		Limits:         oauth.Limits{Token: -1},
	}
}

func whoAmI(w http.ResponseWriter, r *http.Request) {
	info := auth.TokenInfoFromContext(r.Context())
	fmt.Fprintf(w, "%s %v %v", info.UserID, info.Scopes, info.Extra[oauth.ExtraClient])
}
