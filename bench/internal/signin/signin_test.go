package signin

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func server() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
	mcphttp.AddTool(s, &mcp.Tool{Name: add.Name, Description: add.Description}, func(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
	})
	return mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
}

func TestTheTokenIsGoodAndNothingElseIs(t *testing.T) {
	h, token, err := Protect(t.Context(), nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]int{"Bearer " + token: 200, "Bearer x": 401, "": 401} {
		rec, req := httptest.NewRecorder(), httptest.NewRequest("POST", "/mcp", nil)
		req.Header.Set("Authorization", header)
		if h.ServeHTTP(rec, req); rec.Code != want {
			t.Errorf("%q: %d", header, rec.Code)
		}
	}
}

// BenchmarkMCP is a tools/call of 2026-07-28 over one connection of loopback, to a
// server that is open and to one behind sign-in whose records are on disk.
func BenchmarkMCP(b *testing.B) {
	disk, err := local.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	signedIn, token, err := Protect(b.Context(), disk, server())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) { benchmarkCalls(b, server(), "") })
	b.Run("signed in", func(b *testing.B) { benchmarkCalls(b, signedIn, "Authorization: Bearer "+token+"\r\n") })
}

func benchmarkCalls(b *testing.B, h http.Handler, header string) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + add.Name + `","arguments":{"a":1,"b":2},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`
	request := []byte(fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: %s\r\n%sContent-Length: %d\r\n\r\n%s", addr, add.Name, header, len(body), body))
	r := bufio.NewReader(c)
	buffer := make([]byte, 4096)
	before := cpu(b)
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		n, _ := resp.Body.Read(buffer)
		for {
			if _, err := resp.Body.Read(buffer[n:]); err != nil {
				break
			}
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(buffer[:n]), `"3"`) {
			b.Fatalf("%d %s", resp.StatusCode, buffer[:n])
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu is what this process, client and server, has used: on a busy machine it says more
// than the clock.
func cpu(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
