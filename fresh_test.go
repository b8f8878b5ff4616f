package causeway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"
)

// Who somebody is may change while they work: a plan, a role. A session that goes on sees
// it with the next call, and so does what is shown to whom.
func TestPropsAreFreshInARunningSession(t *testing.T) {
	type props struct {
		Name string `json:"name"`
		Plan string `json:"plan"`
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	tool(s, "plan", func(ctx context.Context) (string, error) {
		p := oauth.Props[props](ctx)
		return p.Name + " has the plan [" + p.Plan + "]", nil
	})
	tool(s, "paid", says("paid for"))
	causeway.VisibleIf(s, "paid", func(ctx context.Context) bool { return oauth.Props[props](ctx).Plan == "pro" })
	app := &causeway.App{SignIn: &oauth.Provider{
		Login: login.Dev(), Clients: []oauth.Client{{ID: "editor", RedirectURIs: []string{person.Callback}}},
		Renew: func(_ context.Context, r *oauth.Renewal) error {
			if r.GrantType == "refresh_token" {
				r.Props = []byte(`{"name":"ada","plan":"pro"}`)
			}
			return nil
		},
	}}
	app.Mount("/mcp", causeway.Server(s))
	base := serve(t, app)

	verifier := oauth2.GenerateVerifier()
	config := &oauth2.Config{ClientID: "editor", RedirectURL: person.Callback, Endpoint: oauth2.Endpoint{AuthURL: base + "/authorize", TokenURL: base + "/token", AuthStyle: oauth2.AuthStyleInParams}}
	back, err := person.New("name", "ada").SignIn(t.Context(), config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), person.Callback)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := config.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	resp, _ := rpc(t, base+"/mcp", tok.AccessToken, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	session := []string{"Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"), "MCP-Protocol-Version", "2025-11-25"}
	ask := func(token, method, params string) string {
		t.Helper()
		resp, body := rpc(t, base+"/mcp", token, `{"jsonrpc":"2.0","id":2,"method":"`+method+`","params":`+params+`}`, session...)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		return body
	}
	if got := ask(tok.AccessToken, "tools/call", `{"name":"plan","arguments":{}}`); !strings.Contains(got, "ada has the plan []") {
		t.Fatalf("got %s", got)
	}
	if got := ask(tok.AccessToken, "tools/list", `{}`); strings.Contains(got, `"paid"`) {
		t.Errorf("shown before it is paid for: %s", got)
	}
	connection, _, err := websocket.Dial(t.Context(), base+"/mcp", &websocket.DialOptions{Subprotocols: []string{"mcp"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + tok.AccessToken}}})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.CloseNow()
	over := func(message string) string {
		t.Helper()
		if err := connection.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(message, `"id"`) {
			return ""
		}
		_, b, err := connection.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const call = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"plan","arguments":{}}}`
	over(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	over(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	if got := over(call); !strings.Contains(got, "ada has the plan []") {
		t.Fatalf("over a WebSocket: %s", got)
	}
	answer, err := http.PostForm(base+"/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"editor"}, "refresh_token": {tok.RefreshToken}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var next oauth2.Token
	if err := json.NewDecoder(answer.Body).Decode(&next); err != nil || next.AccessToken == "" {
		t.Fatalf("refresh: %d %v", answer.StatusCode, err)
	}
	for name, token := range map[string]string{"the new token": next.AccessToken, "the old one, which is good still": tok.AccessToken} {
		if got := ask(token, "tools/call", `{"name":"plan","arguments":{}}`); !strings.Contains(got, "ada has the plan [pro]") {
			t.Errorf("with %s: %s", name, got)
		}
		if got := ask(token, "tools/call", `{"name":"paid","arguments":{}}`); !strings.Contains(got, "paid for") {
			t.Errorf("with %s: %s", name, got)
		}
		if got := ask(token, "tools/list", `{}`); !strings.Contains(got, `"paid"`) {
			t.Errorf("with %s: %s", name, got)
		}
	}
	for got := ""; !strings.Contains(got, "ada has the plan [pro]"); got = over(call) { // within seconds
		if t.Context().Err() != nil {
			t.Fatalf("over the WebSocket still %s", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
