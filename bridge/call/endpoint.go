package call

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// probeTimeout bounds one look for an endpoint.
const probeTimeout = 5 * time.Second

// Endpoint looks for the MCP endpoint of the server that has none at a URL: below its path,
// then below the root. It is "" if nothing answers there, or there is nowhere else to look.
// Nothing is sent but a question that needs no sign-in, without the query of the URL, and
// redirects are not followed. It takes at most ten seconds.
func Endpoint(ctx context.Context, server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return ""
	}
	for _, path := range places(u.Path) {
		at := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}).String()
		if answersMCP(ctx, at) {
			return at
		}
	}
	return ""
}

// places are the paths where an endpoint may be that is not at this one.
func places(path string) []string {
	path = strings.TrimRight(path, "/")
	if strings.HasSuffix(path, "/mcp") {
		return nil
	}
	if path == "" {
		return []string{"/mcp"}
	}
	return []string{path + "/mcp", "/mcp"}
}

const question = `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
	`"io.modelcontextprotocol/clientInfo":{"name":"causeway","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`

// answersMCP reports whether there is an MCP server: it asks for a sign-in, or answers
// with a message, be it an error.
func answersMCP(ctx context.Context, at string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(question))
	if err != nil {
		return false
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"} {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusUnauthorized {
		return answer.Header.Get("WWW-Authenticate") != ""
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return bytes.Contains(body, []byte(`"jsonrpc"`))
	}
	var message struct {
		Version string `json:"jsonrpc"`
	}
	return json.Unmarshal(body, &message) == nil && message.Version == "2.0"
}

// SpeaksTLS reports whether what answers at an http URL speaks TLS, so that https was
// meant. Nothing is sent but the beginning of a handshake. It takes at most five seconds.
func SpeaksTLS(ctx context.Context, server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return false
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	// Whose certificate it is does not matter here: nothing is sent by this connection.
	d := tls.Dialer{Config: &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
