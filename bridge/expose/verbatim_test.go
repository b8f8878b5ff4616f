//go:build linux

package expose

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const seerMeta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1","secret":"x"},"io.modelcontextprotocol/clientCapabilities":{}`

// A rawClient sends bytes.
type rawClient struct {
	t       *testing.T
	url     string
	session string
}

// post returns the messages of the answer, whether it is JSON or a stream.
func (c *rawClient) post(body string, headers ...string) []string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(soon(c.t), http.MethodPost, c.url+"/mcp", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer ann"}}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		return []string{string(b)}
	}
	var all []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), ": "); {
		case name == "data" && value != "":
			all = append(all, value)
		case strings.ContainsAny(lines.Text(), "\r"):
			c.t.Errorf("a line of the stream has a line end within: %q", lines.Text())
		}
	}
	return all
}

// call makes a call in either era.
func (c *rawClient) call(asModern bool, params, meta string) []string {
	c.t.Helper()
	if asModern {
		meta = strings.Trim(meta+","+seerMeta, ",")
		return c.post(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{`+params+`,"_meta":{`+meta+`}}}`,
			"MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "see")
	}
	if c.session == "" {
		c.post(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
		c.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return c.post(`{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{` + params + `,"_meta":{` + meta + `}}}`)
}

func TestParamsAndResultsPassAsTheyCame(t *testing.T) {
	type seen map[string]json.RawMessage
	for _, child := range []Era{EraLegacy, EraModern} {
		w := newWorld(t, "tells what it sees", Options{Era: child})
		for _, asModern := range []bool{false, true} {
			t.Run(map[Era]string{EraLegacy: "to a program of 2025", EraModern: "to a program of 2026"}[child]+map[bool]string{false: " in a session", true: " of 2026-07-28"}[asModern], func(t *testing.T) {
				c := &rawClient{t: t, url: w.url}
				params := "\"name\":\"see\",\n\"arguments\":{\"n\":1.0, \"s\":\"\\u0041\"},\"unheard\":{\"of\":[1.50, {}]},\"nothing\":null," +
					"\"task\":{\"ttl\":1},\"TASK\":{},\"ta\u017fk\":{},\"t\\u0061s\u212a\":{}"
				if !asModern {
					params += `,"requestState":"child:mine","inputResponses":{"a":{"action":"accept"}}`
				}
				msgs := c.call(asModern, params, `"own":[ 1.0],"progressToken":"mine"`)
				last := msgs[len(msgs)-1]
				if len(msgs) != 2 || !strings.Contains(msgs[0], `"progressToken":"mine"`) {
					t.Fatalf("progress and an answer were wanted: %q", msgs)
				}
				var answer struct {
					Result seen
				}
				if err := json.Unmarshal([]byte(last), &answer); err != nil {
					t.Fatalf("%v: %q", err, last)
				}
				var got, meta seen
				_ = json.Unmarshal(answer.Result["seen"], &got)
				_ = json.Unmarshal(got["_meta"], &meta)
				if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"_meta", "arguments", "name", "unheard"}) {
					t.Errorf("the program sees %q: %s", names, answer.Result["seen"])
				}
				if string(got["arguments"]) != `{"n":1.0, "s":"\u0041"}` || string(got["unheard"]) != `{"of":[1.50, {}]}` || string(meta["own"]) != `[ 1.0]` {
					t.Errorf("something was written anew: %s", answer.Result["seen"])
				}
				if strings.Contains(string(meta["progressToken"]), "mine") {
					t.Errorf("the client's progress token reached the program: %s", got["_meta"])
				}
				fromWire := []string{}
				if child == EraModern {
					fromWire = []string{"io.modelcontextprotocol/clientCapabilities", "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/protocolVersion"}
				}
				if names := slices.Sorted(maps.Keys(meta)); !slices.Equal(names, append(fromWire, "own", "progressToken")) {
					t.Errorf("the program sees a _meta of %q", names)
				}
				if strings.Contains(string(got["_meta"]), "secret") {
					t.Errorf("what the client says of itself passed unread: %s", got["_meta"])
				}

				if strings.ContainsAny(last, "\r\n") || !strings.Contains(last, "\"number\":1.50e+0") || !strings.Contains(last, ":\"\\u0041\u2028\"") {
					t.Errorf("the result was written anew: %q", last)
				}
				var rmeta seen
				_ = json.Unmarshal(answer.Result["_meta"], &rmeta)
				if asModern {
					if string(answer.Result["resultType"]) != `"complete"` || !strings.Contains(string(rmeta["io.modelcontextprotocol/serverInfo"]), `"name":"seer"`) {
						t.Errorf("what 2026-07-28 wants is missing: %s", last)
					}
					delete(rmeta, "io.modelcontextprotocol/serverInfo")
				}
				if len(rmeta) != 1 || string(rmeta["own"]) != `[ 1.0]` {
					t.Errorf("_meta of the result: %s", answer.Result["_meta"])
				}
			})
		}
	}
}

// Two readers of one request must not see two requests: the wire, and whatever checks
// requests before it, reads "arguments", and a program that folds case would read these.
func TestVariantsOfWhatTheWireReadsAreRefused(t *testing.T) {
	w := newWorld(t, "tells what it sees", Options{})
	for _, asModern := range []bool{false, true} {
		c := &rawClient{t: t, url: w.url}
		for _, params := range []string{`"name":"see","Arguments":{}`, "\"name\":\"see\",\"argument\u017f\":{}", `"name":"see","argument\u017f":{}`,
			`"name":"see","RequestState":"x"`, "\"name\":\"see\",\"reque\u017ftState\":\"x\"", `"name":"see","inputresponses":{}`} {
			if msgs := c.call(asModern, params, ""); !strings.Contains(msgs[0], "-32602") || strings.Contains(msgs[0], "seen") {
				t.Errorf("%s: %q", params, msgs)
			}
		}
	}
}
