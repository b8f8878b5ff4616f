package call

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestEndpointIsFoundWhereMostAre(t *testing.T) {
	server := func(*http.Request) *mcp.Server {
		return mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcphttp.NewHandler(server, nil))
	mux.Handle("/old/mcp", mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{JSONResponse: true}))
	mux.HandleFunc("/locked/mcp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	})
	ts := httptest.NewServer(mux)
	defer ts.Close()
	for path, want := range map[string]string{"": "/mcp", "/": "/mcp", "/old/": "/old/mcp", "/locked": "/locked/mcp", "/nowhere": "/mcp", "?key=hush": "/mcp", "/mcp/": ""} {
		if want != "" {
			want = ts.URL + want
		}
		if got := Endpoint(t.Context(), ts.URL+path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestNoEndpointIsFoundInWhatIsNoMCP(t *testing.T) {
	var asked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, h := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>jsonrpc")) },
		"other JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"error":"not found"}`)) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"a site's sign-in": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.String())
				h(w, r)
			}))
			defer ts.Close()
			if got := Endpoint(t.Context(), ts.URL+"?key=hush"); got != "" {
				t.Errorf("found %q", got)
			}
		})
	}
	if all := strings.Join(asked, " "); strings.Contains(all, "hush") || len(asked) != 4 {
		t.Errorf("asked %s", all)
	}
	for _, odd := range []string{"", "::", "http://", "/mcp"} {
		if got := Endpoint(t.Context(), odd); got != "" {
			t.Errorf("%q: %q", odd, got)
		}
	}
}

func TestWhereHTTPSWasMeant(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for at, want := range map[string]bool{"http" + strings.TrimPrefix(secure.URL, "https") + "/mcp": true, plain.URL: false, secure.URL: false, "http://127.0.0.1:1": false, "::": false, "http://": false} {
		if got := SpeaksTLS(t.Context(), at); got != want {
			t.Errorf("%s: %t", at, got)
		}
	}
}

// A status that is none of MCP's is said as it is.
func TestAnswersThatAreNoMessages(t *testing.T) {
	for _, tc := range []struct {
		status   int
		kind     string
		says     string
		endpoint bool // there may be one elsewhere
	}{
		{200, "text/html; charset=utf-8", "answers with text/html", true},
		{404, "text/plain", "answers 404 Not Found", true},
		{405, "", "answers 405 Method Not Allowed", true},
		{403, "text/html", "answers 403 Forbidden", false},
		{500, "text/html", "answers 500 Internal Server Error", false},
		{503, "application/json", "answers 503 Service Unavailable", false},
		{599, "", "answers 599", false},
	} {
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tc.kind)
			w.WriteHeader(tc.status)
		}))
		_, err := Dial(t.Context(), Options{URL: ts.URL})
		ts.Close()
		var answer *AnswerError
		if !errors.As(err, &answer) || !strings.HasSuffix(err.Error(), tc.says) || answer.NoEndpoint() != tc.endpoint || answer.Status != tc.status {
			t.Errorf("%d %s: %v", tc.status, tc.kind, err)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, seed := range []string{"", " ", "{}", "{\n\"ä\": x}", "[1]", "null", "\ufeff{}", "{", "{}}", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := Arguments(text)
		var o map[string]any
		if err == nil && raw != nil && json.Unmarshal(raw, &o) != nil {
			t.Errorf("%q is no object", raw)
		}
		if err != nil && (raw != nil || strings.Contains(err.Error(), "line 0") || strings.Contains(err.Error(), "character 0")) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
