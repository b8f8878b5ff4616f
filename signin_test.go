package causeway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestAnAppWithSignInAsksForIt(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "hi"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return causeway.Text("hi"), nil, nil
	})
	base := make(chan string, 1)
	app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev()}, Ready: func(b string) { base <- b }}
	app.Mount("/mcp", causeway.Server(s))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, []string{"-addr", "127.0.0.1:0", "-data", t.TempDir()}) }()
	url := <-base
	get := func(path string) (*http.Response, string) {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp, string(b)
	}
	resp, _ := get("/mcp")
	if resp.StatusCode != 401 || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "resource_metadata=") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp, body := get("/.well-known/oauth-protected-resource/mcp"); resp.StatusCode != 200 || !strings.Contains(body, url+"/mcp") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := get("/.well-known/oauth-authorization-server"); resp.StatusCode != 200 || !strings.Contains(body, `"S256"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
