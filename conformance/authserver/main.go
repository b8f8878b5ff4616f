// Command authserver is the fixture that OAuth clients, the authorization mode of the
// official suite and upstream identity providers are run against: an ordinary
// causeway.App with sign-in and two tools.
//
// Usage:
//
//	go run ./conformance/authserver -addr 127.0.0.1:8080 -data DIR
//	go run ./conformance/authserver -login oidc -upstream URL -upstream-id ID -upstream-secret SECRET
//
// It serves http://HOST:PORT/mcp and prints that URL as its only line on standard
// output. With port 0 the system chooses a free port. It lets in whoever the login lets
// in, and is for loopback only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
)

// settings are the flags of the fixture.
type settings struct {
	login, issuer                            string
	upstream, upstreamID, upstreamSecret     string
	upstreamAPI                              string
	escrow                                   bool
	document, documentName, documentRedirect string
	accessTTL                                time.Duration
}

func main() {
	flags := flag.NewFlagSet("authserver", flag.ContinueOnError)
	var s settings
	flags.StringVar(&s.login, "login", "dev", "`who` says who people are: dev, github or oidc")
	flags.StringVar(&s.issuer, "issuer", "", "`URL` under which clients reach this, when something stands in front (default: the address)")
	flags.StringVar(&s.upstream, "upstream", "", "`URL` of the OpenID Connect issuer, or of what stands for GitHub")
	flags.StringVar(&s.upstreamID, "upstream-id", "", "client `id` there")
	flags.StringVar(&s.upstreamSecret, "upstream-secret", "", "client `secret` there")
	flags.StringVar(&s.upstreamAPI, "upstream-api", "", "`URL` there that the tool upstream asks with the person's token")
	flags.BoolVar(&s.escrow, "escrow", false, "let the server open grants by itself")
	flags.StringVar(&s.document, "document", "", "`URL` of a client metadata document that is known beforehand")
	flags.StringVar(&s.documentName, "document-name", "A client with a document", "the `name` in that document")
	flags.StringVar(&s.documentRedirect, "document-redirect", "http://127.0.0.1/callback", "the redirect `URIs` in that document, separated by commas")
	flags.DurationVar(&s.accessTTL, "access-ttl", 0, "how `long` access tokens are good (default 1h)")

	app := &causeway.App{Flags: flags}
	server := newServer()
	app.Mount("/mcp", causeway.Server(server))
	app.Prepare = func() error {
		if s.upstreamAPI != "" {
			addUpstream(server, s.upstreamAPI)
		}
		who, err := s.who()
		if err != nil {
			return err
		}
		app.SignIn = s.provider(who)
		return nil
	}
	app.Ready = func(base string) { fmt.Println(base + "/mcp") }
	app.Main()
}

func (s *settings) provider(who oauth.Login) *oauth.Provider {
	p := &oauth.Provider{
		Name:      "Sign-in fixture",
		Issuer:    s.issuer,
		Login:     who,
		AccessTTL: s.accessTTL,
		// Everybody in a test comes from the same address.
		Limits: oauth.Limits{Register: -1, Pages: -1},
		Resources: []oauth.Resource{{
			Path: "/mcp", Name: "the letter box",
			Scopes: []oauth.Scope{
				{Name: "read", Words: "read your letters"},
				{Name: "write", Words: "send letters in your name", Includes: []string{"read"}},
			},
			Require: []string{"read"},
			Tools:   map[string][]string{"send": {"write"}},
		}},
	}
	if s.escrow {
		p.Escrow = new(oauth.Escrow)
	}
	if s.document != "" {
		p.Clients = append(p.Clients, oauth.Client{ID: s.document, Name: s.documentName, RedirectURIs: strings.Split(s.documentRedirect, ",")})
	}
	return p
}

func (s *settings) who() (oauth.Login, error) {
	switch s.login {
	case "dev":
		return login.Dev(), nil
	case "github":
		return github.LoginWith(s.upstreamID, s.upstreamSecret, nil, &github.Options{WebURL: s.upstream, APIURL: s.upstream + "/api/v3"}), nil
	case "oidc":
		return &oidc.Login{Issuer: s.upstream, ClientID: s.upstreamID, ClientSecret: s.upstreamSecret}, nil
	default:
		return nil, fmt.Errorf("-login %s: want dev, github or oidc", s.login)
	}
}

// caller is what the server knows of who calls.
type caller struct {
	User string `json:"user"`
	// Name is from the props, which only the provider can have opened.
	Name string `json:"name"`
}

// letter is what the tool that needs a further scope takes.
type letter struct {
	To string `json:"to"`
}

func newServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "authserver", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "whoami", Description: "Tells who calls."},
		func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, caller, error) {
			who, _ := mcphttp.CallerOf(ctx)
			c := caller{User: who.User, Name: nameOf(ctx)}
			return causeway.Textf("You are %s.", c.Name), c, nil
		})
	causeway.AddTool(s, &mcp.Tool{Name: "send", Description: "Sends a letter; needs the scope write."},
		func(_ context.Context, _ *mcp.CallToolRequest, in letter) (*mcp.CallToolResult, any, error) {
			return causeway.Textf("Sent to %s.", in.To), nil, nil
		})
	return s
}

// maxAnswer bounds what is read of an upstream's answer.
const maxAnswer = 64 << 10

// addUpstream adds a tool that asks the API of the login, as whoever calls.
func addUpstream(s *mcp.Server, api string) {
	causeway.AddTool(s, &mcp.Tool{Name: "upstream", Description: "Tells what the login's own API says of the caller."},
		func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, api, nil)
			if err != nil {
				return nil, nil, err
			}
			resp, err := oauth2.NewClient(ctx, oauth.UpstreamSource(ctx)).Do(req)
			if err != nil {
				return nil, nil, fmt.Errorf("asking the login's API: %w", err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
			return causeway.Textf("%d %s", resp.StatusCode, body), nil, err
		})
}

// nameOf finds the name in the props of whichever login there is.
func nameOf(ctx context.Context) string {
	if u := oauth.Props[github.User](ctx); u.Login != "" {
		return u.Login
	}
	if c := oauth.Props[oidc.Claims](ctx); c.Name != "" {
		return c.Name
	}
	return oauth.Props[login.DevPerson](ctx).Name
}
