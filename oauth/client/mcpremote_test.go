package client

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// remote writes what mcp-remote keeps for an identity.
func remote(t *testing.T, version, identity string, tokens, info map[string]any) string {
	t.Helper()
	folder := t.TempDir()
	place := filepath.Join(folder, "mcp-remote-"+version)
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte(identity))
	for name, doc := range map[string]map[string]any{"tokens": tokens, "client_info": info} {
		if doc == nil {
			continue
		}
		content, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, hex.EncodeToString(sum[:])+"_"+name+".json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestNobodySignsInAgainAfterMCPRemote(t *testing.T) {
	info := map[string]any{"client_id": "their-client", "redirect_uris": []string{"http://localhost:3335/oauth/callback"}, "token_endpoint_auth_method": "none"}
	for name, test := range map[string]struct {
		version  string
		identity func(w *world) string
		tokens   map[string]any
		options  Options
		renewals int
	}{
		"a token that is good": {"v1", (*world).server, map[string]any{"access_token": "old", "token_type": "Bearer", "refresh_token": "r", "expires_at": float64(time.Now().Add(time.Hour).UnixMilli())}, Options{}, 0},
		"a token that has ended": {"v1", (*world).server, map[string]any{"access_token": "gone", "token_type": "Bearer", "refresh_token": "r",
			"expires_at": float64(time.Now().Add(-time.Hour).UnixMilli())}, Options{}, 1},
		"a token of an older version, of unknown age": {"0.1.18", (*world).server, map[string]any{"access_token": "gone", "token_type": "bearer", "refresh_token": "r", "expires_in": 3600}, Options{}, 1},
		"a URL that was typed with a slash": {"v1", func(w *world) string { return w.server() + "/" },
			map[string]any{"access_token": "old", "token_type": "Bearer"}, Options{}, 0},
		"a resource, parameters and headers of the command line": {"v1", func(w *world) string {
			return w.server() + "|" + "https://r.example" + `|{"audience":"api","prompt":"login"}|{"X-Key":"1"}`
		}, map[string]any{"access_token": "old", "token_type": "Bearer"},
			Options{Resource: "https://r.example", AuthorizeParams: url.Values{"prompt": {"login"}, "audience": {"api"}}, Headers: http.Header{"X-Key": {"1"}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.access["old"], w.refresh["r"] = "", ""
			test.options.ImportFrom = remote(t, test.version, test.identity(w), test.tokens, info)
			test.options.Store = Memory()
			c := w.client(test.options)
			w.mustCall(c, "x")
			w.wantCounts(map[string]int{"browser": 0, "as /register": 0, "grant refresh_token": test.renewals})
			for _, form := range w.forms {
				if form.Get("client_id") != "their-client" {
					t.Errorf("renewed as %q", form.Get("client_id"))
				}
			}
			if all, err := c.Tokens(t.Context()); err != nil || len(all) != 1 || !all[0].Imported && test.renewals == 0 {
				t.Errorf("the list says %+v (%v)", all, err)
			}

			// It is read once: after a logout nothing comes back.
			if err := c.Logout(t.Context(), w.server()); err != nil {
				t.Fatal(err)
			}
			w.mu.Lock()
			w.access["old"] = ""
			w.mu.Unlock()
			w.mustCall(w.client(test.options), "y")
			w.wantCounts(map[string]int{"browser": 1})
		})
	}
}

func TestWhatMCPRemoteKeptForOthersIsLeft(t *testing.T) {
	w := newWorld(t)
	folder := remote(t, "v1", "https://else.example/mcp", map[string]any{"access_token": "old", "token_type": "Bearer"}, nil)
	w.mustCall(w.client(Options{ImportFrom: folder}), "x")
	w.wantCounts(map[string]int{"browser": 1})
}

// A refresh token is of use only to the client that it was given to.
func TestARefreshTokenWithoutItsClientIsNotSent(t *testing.T) {
	w := newWorld(t)
	w.refresh["r"] = ""
	folder := remote(t, "v1", w.server(), map[string]any{"access_token": "gone", "token_type": "Bearer", "refresh_token": "r", "expires_in": 60}, nil)
	w.mustCall(w.client(Options{ImportFrom: folder}), "x")
	w.wantCounts(map[string]int{"browser": 1, "grant refresh_token": 0})
}

func TestABrokenFileOfMCPRemoteIsNoReasonToFail(t *testing.T) {
	w := newWorld(t)
	folder := remote(t, "v1", w.server(), map[string]any{"access_token": 7}, nil)
	w.mustCall(w.client(Options{ImportFrom: folder}), "x")
	w.wantCounts(map[string]int{"browser": 1})
}
