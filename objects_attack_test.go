package causeway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What a stranger makes of a handle opens nothing, in a tool, a resource or a subscription, and the answer does
// not repeat it.
func TestForgedHandlesOpenNothing(t *testing.T) {
	app, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	url := serveApp(t, app)
	other, _ := newCounter(t, t.TempDir(), causeway.PerSession)
	elsewhere := serveApp(t, other)
	mine := handleIn(t, add(t, url, "", "", ""))
	foreign := handleIn(t, add(t, elsewhere, "", "", ""))
	id, mac, _ := strings.Cut(mine, ".")
	for name, handle := range map[string]string{
		"of another server":         foreign,
		"its id alone":              id,
		"an empty signature":        id + ".",
		"a signature cut short":     id + "." + mac[:25],
		"a signature that goes on":  mine + "A",
		"another's signature":       strings.Split(foreign, ".")[0] + "." + mac,
		"in small letters":          strings.ToLower(mine),
		"with a space":              " " + mine,
		"with a line end":           mine + `\n`,
		"with a zero":               mine + `\u0000`,
		"an object id as such":      "h-" + id,
		"twice the id":              id + "." + id + "." + mac,
		"the shared object":         "shared",
		"the shared object, signed": "shared." + mac,
		"huge":                      strings.Repeat("A", 1<<16) + "." + mac,
	} {
		t.Run(name, func(t *testing.T) {
			body := add(t, url, "", "", `,"handle":"`+handle+`"`)
			if strings.Contains(body, "total") || !strings.Contains(body, "-32602") || strings.Contains(body, mac) {
				t.Error(body)
			}
		})
	}
	for name, value := range map[string]string{"a number": `1`, "an object": `{"id":"x"}`, "a list": `["` + mine + `"]`} {
		if body := add(t, url, "", "", `,"handle":`+value); !strings.Contains(body, "-32602") {
			t.Errorf("%s: %s", name, body)
		}
	}
	// Two members of one name: the one that is checked is the one that is used.
	if body := add(t, url, "", "", `,"handle":"`+mine+`","handle":"`+foreign+`"`); strings.Contains(body, "total") {
		t.Errorf("the second of two handles: %s", body)
	}
	// In an era with sessions the handle of a stranger is not looked at, and no argument of the tool either.
	sid := initialize(t, url, "")
	if body := add(t, url, sid, "", `,"handle":"`+mine+`"`); strings.Contains(body, "total 3") {
		t.Errorf("a session took somebody's handle: %s", body)
	}
	if _, body := speak(t, url, "", "", "resources/read", `"uri":"test://count?handle=`+foreign+`"`); !strings.Contains(body, "-32602") {
		t.Errorf("a resource of a forged handle: %s", body)
	}
	if body := add(t, url, "", "", `,"handle":"`+mine+`"`); !strings.Contains(body, "total 3") {
		t.Errorf("the true handle: %s", body)
	}
}

// post sends a message as it is.
func post(t *testing.T, url, token, body string, header ...string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// However a hidden tool is asked for, the answer is that of a tool that is not there: also with arguments that do
// not fit, headers that do not, as a task, and when scopes are needed as well, whatever was set first.
func TestAHiddenToolIsNowhereAtAll(t *testing.T) {
	for _, scopesFirst := range []bool{false, true} {
		s := mcp.NewServer(&mcp.Implementation{Name: "v", Version: "1"}, nil)
		// The names are of one length.
		causeway.AddTool(s, &mcp.Tool{Name: "hidden"}, func(context.Context, *mcp.CallToolRequest, struct {
			N int `json:"n"`
		}) (*mcp.CallToolResult, any, error) {
			return causeway.Text("ran"), nil, nil
		})
		if scopesFirst {
			causeway.RequireScopes(s, "hidden", "write")
		}
		causeway.VisibleIf(s, "hidden", func(ctx context.Context) bool {
			tok := auth.TokenInfoFromContext(ctx)
			return tok != nil && tok.UserID == "ada"
		})
		if !scopesFirst {
			causeway.RequireScopes(s, "hidden", "write")
		}
		app := &causeway.App{}
		app.Mount("/mcp", causeway.Server(s))
		url := serveApp(t, app)
		const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}`
		modern := func(tool string, more ...string) []string {
			return append([]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool}, more...)
		}
		sid := initialize(t, url, "bob")
		for name, ask := range map[string]func(tool string) (int, string){
			"a call": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"n":1},`+meta+`}}`, modern(tool)...)
			},
			"arguments that do not fit": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"m":[]},`+meta+`}}`, modern(tool)...)
			},
			"arguments that are none": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":[1],`+meta+`}}`, modern(tool)...)
			},
			"a header of an argument": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"n":1},`+meta+`}}`, modern(tool, "Mcp-Param-N", "2")...)
			},
			"a task": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"n":1},"task":{"ttl":1000},`+meta+`}}`, modern(tool)...)
			},
			"forged state": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"n":1},"requestState":"x","inputResponses":{},`+meta+`}}`, modern(tool)...)
			},
			"a session": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{"n":"one"}}}`, "Mcp-Session-Id", sid)
			},
			"a task of a session": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{},"task":{}}}`, "Mcp-Session-Id", sid)
			},
			"completion": func(tool string) (int, string) {
				return post(t, url, "bob", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/tool","name":"`+tool+`"},"argument":{"name":"n","value":"1"}}}`, "Mcp-Session-Id", sid)
			},
			"another's session": func(tool string) (int, string) {
				return post(t, url, "eve", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{}}}`, "Mcp-Session-Id", sid)
			},
		} {
			t.Run(fmt.Sprint(name, " ", scopesFirst), func(t *testing.T) {
				status, hidden := ask("hidden")
				none, missing := ask("nosuch")
				if want := strings.ReplaceAll(missing, "nosuch", "hidden"); status != none || hidden != want {
					t.Errorf("%d %s\nand of one that is not there\n%d %s", status, hidden, none, missing)
				}
			})
		}
	}
}
