package mcphttp

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestWhatSomebodyKnownGetsIsTheirsAlone(t *testing.T) {
	s := newServer(nil)
	read := func(c mcp.Cacheable) mcp.ResourceHandler {
		return func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "x"}}, Cacheable: c}, nil
		}
	}
	s.AddResource(&mcp.Resource{URI: "x://unsaid", Name: "unsaid"}, read(mcp.Cacheable{}))
	s.AddResource(&mcp.Resource{URI: "x://said", Name: "said"}, read(mcp.Cacheable{TTLMs: 1000, CacheScope: "public"}))
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	open, known := serveHTTP(t, h), serveHTTP(t, as(h))
	ada := http.Header{"Authorization": {"Bearer ada"}}
	for name, tt := range map[string]struct {
		w                      *wire
		method, target, params string
		want                   string
	}{
		"a read of somebody known":         {&wire{t: t, url: known, hd: ada}, "resources/read", "x://unsaid", `"uri":"x://unsaid"`, `"cacheScope":"private"`},
		"a list for somebody known":        {&wire{t: t, url: known, hd: ada}, "tools/list", "", "", `"cacheScope":"private"`},
		"a read whose author has said who": {&wire{t: t, url: known, hd: ada}, "resources/read", "x://said", `"uri":"x://said"`, `"cacheScope":"public"`},
		"a read of nobody in particular":   {&wire{t: t, url: open}, "resources/read", "x://unsaid", `"uri":"x://unsaid"`, `"cacheScope":"public"`},
	} {
		t.Run(name, func(t *testing.T) {
			if a := tt.w.modern("1", tt.method, tt.target, tt.params); !strings.Contains(a.body, tt.want) {
				t.Errorf("no %s: %s", tt.want, a.body)
			}
		})
	}
	session := (&wire{t: t, url: known, hd: ada}).initialize(version20251125)
	if a := session.call("1", "resources/read", `"uri":"x://unsaid"`); strings.Contains(a.body, "public") {
		t.Errorf("in a session: %s", a.body)
	}
}

func TestASessionIDTellsNobodyWhoseItIs(t *testing.T) {
	one := NewHandler(nil, &Options{Secret: []byte("a secret of thirty-two bytes, 1!")})
	two := NewHandler(nil, &Options{Secret: []byte("a secret of thirty-two bytes, 2!")})
	again := NewHandler(nil, &Options{Secret: []byte("a secret of thirty-two bytes, 1!")})
	if one.userDigest("ada") == two.userDigest("ada") {
		t.Error("two servers call a person the same")
	}
	if one.userDigest("ada") != again.userDigest("ada") || one.userDigest("ada") == one.userDigest("bob") {
		t.Error("a server must know its people's sessions by their digest")
	}
}
