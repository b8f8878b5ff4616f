package causeway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/internal/person"
	"github.com/causeway-mcp/causeway/internal/testca"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// secured is an App on loopback with a certificate.
type secured struct {
	ca   *testca.Authority
	dir  string // of cert.pem and key.pem
	base string
	log  *logged
	http *http.Client // trusts ca
	stop func() error
}

// logged is what was written to a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func secure(t *testing.T, app *causeway.App, pair func(*testca.Authority) testca.Pair) *secured {
	t.Helper()
	s := &secured{ca: testca.New(t), dir: t.TempDir(), log: new(logged)}
	if pair == nil {
		pair = func(ca *testca.Authority) testca.Pair { return ca.Loopback(t) }
	}
	cert, key := pair(s.ca).Write(t, s.dir)
	s.http = &http.Client{Transport: s.ca.Transport(t)}
	ready := make(chan string, 1)
	app.Ready = func(base string) { ready <- base }
	app.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(ctx, []string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-tls-cert", cert, "-tls-key", key})
	}()
	select {
	case s.base = <-ready:
	case err := <-done:
		t.Fatalf("Run = %v", err)
	}
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *secured) addr() string { return strings.TrimPrefix(s.base, "https://") }

// served is the certificate that a new connection is shown.
func (s *secured) served(t *testing.T) string {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: s.ca.Pool})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never", what)
		}
	}
}

func TestAnAppWithACertificateSpeaksTLS(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	app.Handle("/proto", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s := secure(t, app, nil)
	if !strings.HasPrefix(s.base, "https://127.0.0.1:") {
		t.Errorf("the URL is %s", s.base)
	}
	old := s.ca.Transport(t)
	old.ForceAttemptHTTP2 = false
	for want, rt := range map[string]http.RoundTripper{"HTTP/2.0": s.http.Transport, "HTTP/1.1": old} {
		res, err := (&http.Client{Transport: rt}).Get(s.base + "/proto")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != want || res.TLS == nil || res.TLS.Version < tls.VersionTLS12 {
			t.Errorf("%s, want %s; %+v", body, want, res.TLS)
		}
	}
	if conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: s.ca.Pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	res, err := http.Get("http://" + s.addr() + "/proto")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("plain http: %d", res.StatusCode)
	}
	// Whoever scans the internet must not fill the log.
	eventually(t, "the handshake that failed, in the log", func() bool { return strings.Contains(s.log.String(), "TLS handshake error") })
	if strings.Contains(s.log.String(), "level=WARN") {
		t.Errorf("the log warns:\n%s", s.log)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// Both eras over HTTP/2, with what the server says of itself on a stream.
func TestSessionsAndStreamsOverTLS(t *testing.T) {
	server := greeter()
	app := &causeway.App{}
	app.Mount("/mcp", causeway.MountHandler{Server: func(*http.Request) *mcp.Server { return server }, SSEPath: "/sse"})
	s := secure(t, app, nil)
	protos := &protocols{base: s.http.Transport}
	hc := &http.Client{Transport: protos}
	for name, transport := range map[string]mcp.Transport{
		"streamable": &mcp.StreamableClientTransport{Endpoint: s.base + "/mcp", HTTPClient: hc},
		"sse":        &mcp.SSEClientTransport{Endpoint: s.base + "/sse", HTTPClient: hc},
	} {
		changed := make(chan struct{}, 10)
		client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
			ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} }})
		session, err := client.Connect(t.Context(), transport, &mcp.ClientSessionOptions{ProtocolVersion: "2025-06-18"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := call(t, session, "greet", map[string]any{"name": "Ada"}); got != "Hello, Ada!" {
			t.Errorf("%s: greet = %q", name, got)
		}
		mcp.AddTool(server, &mcp.Tool{Name: "later-" + name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return causeway.Text(""), nil, nil
		})
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: nothing came over the stream", name)
		}
		t.Cleanup(func() { session.Close() })
	}
	modern := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := modern.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.base + "/mcp", HTTPClient: hc}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if got := call(t, session, "greet", map[string]any{"name": "Bob"}); got != "Hello, Bob!" {
		t.Errorf("greet = %q", got)
	}
	if got := protos.seen(); got != "HTTP/2.0" {
		t.Errorf("spoken was %s", got)
	}
	// Streams that are open do not hold up the end.
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.log.String(), "outlasted") {
		t.Errorf("something was cut:\n%s", s.log)
	}
}

// protocols notes the protocols of answers.
type protocols struct {
	base http.RoundTripper
	mu   sync.Mutex
	all  []string
}

func (p *protocols) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := p.base.RoundTrip(r)
	if err == nil {
		p.mu.Lock()
		if !strings.Contains(strings.Join(p.all, " "), res.Proto) {
			p.all = append(p.all, res.Proto)
		}
		p.mu.Unlock()
	}
	return res, err
}

func (p *protocols) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.all, " ")
}

func TestACallOverHTTP2MayFinishWhenTheAppStops(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	server := mcp.NewServer(&mcp.Implementation{Name: "slow", Version: "1"}, nil)
	causeway.AddTool(server, &mcp.Tool{Name: "slow"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-release
		return causeway.Text("done"), nil, nil
	})
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(server))
	s := secure(t, app, nil)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.base + "/mcp", HTTPClient: s.http}, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() { answer <- callOrError(session, "slow", nil) }()
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	eventually(t, "the listener closes", func() bool {
		conn, err := net.Dial("tcp", s.addr())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the call that was being worked on got %q", got)
	}
	session.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	s := secure(t, app, nil)
	// The client's transport speaks HTTP/2 with the same server, and must not here.
	if res, err := s.http.Get(s.base + "/mcp"); err != nil || res.ProtoMajor != 2 {
		t.Fatalf("%v %v", res, err)
	} else {
		res.Body.Close()
	}
	conn, res, err := websocket.Dial(t.Context(), "wss://"+s.addr()+"/mcp", &websocket.DialOptions{HTTPClient: s.http, Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatalf("%v %+v", err, res)
	}
	defer conn.CloseNow()
	say := func(message string) map[string]any {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		_, raw, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(raw, &answer); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		return answer
	}
	if got := say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"ws","version":"1"}}}`); got["result"] == nil {
		t.Fatalf("initialize: %v", got)
	}
	if got := say(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"}}}`); !strings.Contains(toText(got["result"]), "Hello, Ada!") {
		t.Errorf("greet: %v", got)
	}
	if extended := settings(t, s)[8]; extended != 0 {
		t.Error("clients of HTTP/2 are told that WebSocket works over it (RFC 8441)")
	}
}

func toText(v any) string { b, _ := json.Marshal(v); return string(b) }

// settings are those that the server announces first on an HTTP/2 connection (RFC 9113 §6.5).
func settings(t *testing.T, s *secured) map[uint16]uint32 {
	t.Helper()
	conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: s.ca.Pool, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 {
		t.Fatalf("%v: %x", err, head)
	}
	body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	found := map[uint16]uint32{}
	for ; len(body) >= 6; body = body[6:] {
		found[binary.BigEndian.Uint16(body)] = binary.BigEndian.Uint32(body[2:])
	}
	return found
}

func TestEverythingOfSignInIsHTTPSWithACertificate(t *testing.T) {
	server := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	causeway.AddTool(server, &mcp.Tool{Name: "who"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return causeway.Text(oauth.Props[login.DevPerson](ctx).Name), nil, nil
	})
	app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev()}}
	app.Mount("/mcp", causeway.Server(server))
	s := secure(t, app, nil)

	ada := person.New("name", "ada")
	ada.Use(s.http.Transport)
	session := ada.Connect(t, s.base+"/mcp")
	if got := person.Text(t, session, "who", nil); got != "ada" {
		t.Errorf("who = %q", got)
	}
	for _, page := range ada.Seen() {
		if strings.Contains(page.Body, "http://127.0.0.1:"+s.base[len("https://127.0.0.1:"):]) {
			t.Errorf("%s shows a plain address of this server", page.URL)
		}
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"} {
		res, err := s.http.Get(s.base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.Contains(string(body), s.base) || strings.Contains(string(body), "http://") {
			t.Errorf("%s: %s", path, body)
		}
	}
	res, err := s.http.Get(s.base + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("WWW-Authenticate"); !strings.Contains(got, `resource_metadata="`+s.base) {
		t.Errorf("the challenge is %s", got)
	}
	res, err = s.http.Get(s.base + "/account")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if len(res.Cookies()) == 0 {
		t.Error("no cookie")
	}
	for _, c := range res.Cookies() {
		if !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("the cookie %s may be sent in plain: %v", c.Name, c)
		}
	}
	// A page that rebinds its name to our address has no certificate for it, and is refused all the same.
	req, _ := http.NewRequest("GET", s.base+"/mcp", nil)
	req.Host = "evil.example"
	if res, err := s.http.Do(req); err != nil || res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign Host: %v %v", res, err)
	}
	session.Close()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func TestForeignHostsAndOriginsOverTLS(t *testing.T) {
	app := &causeway.App{AllowedOrigins: []string{"https://app.example"}}
	app.Mount("/mcp", causeway.Server(greeter()))
	s := secure(t, app, nil)
	for _, tc := range []struct {
		host, origin string
		refused      bool
	}{
		{"", "", false},
		{"", s.base, false},
		{"", "https://app.example", false},
		{"", "http://app.example", true},
		{"", "https://evil.example", true},
		{"evil.example", "", true},
		{"evil.example", "https://evil.example", true},
	} {
		req, _ := http.NewRequest("GET", s.base+"/mcp", nil)
		req.Host = tc.host
		if tc.origin != "" {
			req.Header.Set("Origin", tc.origin)
		}
		res, err := s.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if refused := res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusMisdirectedRequest; refused != tc.refused {
			t.Errorf("%+v: %d", tc, res.StatusCode)
		}
	}
}

// A certificate that has only the name localhost is served under that name.
func TestTheAddressIsOneThatTheCertificateIsFor(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	s := secure(t, app, func(ca *testca.Authority) testca.Pair { return ca.Issue(t, time.Hour, "localhost") })
	if !strings.HasPrefix(s.base, "https://localhost:") {
		t.Errorf("the URL is %s", s.base)
	}
	res, err := s.http.Get(s.base + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// On all addresses of a machine, the certificate's name is the one that people can use.
func TestTheAddressOfAllAddressesIsTheCertificatesName(t *testing.T) {
	for _, tc := range []struct{ names, host string }{{"mcp.example", "mcp.example"}, {"*.example", "[::]"}} {
		ca := testca.New(t)
		cert, key := ca.Issue(t, time.Hour, tc.names).Write(t, t.TempDir())
		app := &causeway.App{Addr: "[::]:0", AllowAnonymous: true, TLSCert: cert, TLSKey: key, Store: "memory"}
		app.Mount("/mcp", causeway.Server(greeter()))
		base, stop := run(t, app)
		if !strings.HasPrefix(base, "https://"+tc.host+":") {
			t.Errorf("%s: the URL is %s", tc.names, base)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestACertificateThatClientsWillRefuseIsReported(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lasts time.Duration
		host  string
		says  []string
	}{
		{"for another name", time.Hour, "other.example", []string{"other.example", "127.0.0.1"}},
		{"that has ended", -time.Hour, "127.0.0.1", []string{"ended"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			app := &causeway.App{}
			app.Mount("/mcp", causeway.Server(greeter()))
			s := secure(t, app, func(ca *testca.Authority) testca.Pair { return ca.Issue(t, tc.lasts, tc.host) })
			for _, want := range append(tc.says, "level=WARN", "cert.pem") {
				if !strings.Contains(s.log.String(), want) {
					t.Errorf("the log does not say %s:\n%s", want, s.log)
				}
			}
		})
	}
}

func TestACertificateIsReplacedUnderLoadWithoutAFailedRequest(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	app.Handle("/page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") }))
	s := secure(t, app, nil)
	first := s.served(t)

	end := make(chan struct{})
	var work sync.WaitGroup
	var mu sync.Mutex
	requests, failures := 0, []string{}
	count := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if requests++; err != nil {
			failures = append(failures, err.Error())
		}
	}
	load := func(do func() error) {
		work.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					count(do())
				}
			}
		})
	}
	load(func() error { return get(s.http, s.base+"/page") }) // one HTTP/2 connection, kept
	fresh := s.ca.Transport(t)
	fresh.DisableKeepAlives = true
	load(func() error { return get(&http.Client{Transport: fresh}, s.base+"/page") }) // a handshake each
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: s.base + "/mcp", HTTPClient: s.http}, nil)
	if err != nil {
		t.Fatal(err)
	}
	load(func() error {
		_, err := session.CallTool(context.Background(), &mcp.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "Ada"}})
		return err
	})

	second := s.ca.Loopback(t)
	second.Write(t, s.dir)
	eventually(t, "the second certificate", func() bool { return s.served(t) != first })
	// The files are written one after the other, and not at once by everyone.
	third := s.ca.Loopback(t)
	now := s.served(t)
	write(t, s.dir, "cert.pem", third.Cert)
	time.Sleep(50 * time.Millisecond)
	write(t, s.dir, "key.pem", third.Key)
	eventually(t, "the third certificate", func() bool { return s.served(t) != now })

	close(end)
	work.Wait()
	if len(failures) > 0 || requests < 20 {
		t.Errorf("%d of %d requests failed: %v", len(failures), requests, failures)
	}
	session.Close()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

func get(c *http.Client, url string) error {
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func write(t *testing.T, dir, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestABadNewPairKeepsTheOldOne(t *testing.T) {
	app := &causeway.App{}
	app.Mount("/mcp", causeway.Server(greeter()))
	s := secure(t, app, nil)
	first := s.served(t)
	for name, bad := range map[string]struct {
		change func()
		says   string
	}{
		"a key of another certificate": {func() { write(t, s.dir, "key.pem", s.ca.Loopback(t).Key) }, "does not match"},
		"a certificate that is none":   {func() { write(t, s.dir, "cert.pem", []byte("hello")) }, "no certificate"},
		"a file that is gone":          {func() { os.Remove(filepath.Join(s.dir, "cert.pem")) }, "no such file"},
	} {
		bad.change()
		eventually(t, name, func() bool { return strings.Contains(s.log.String(), bad.says) })
		if got := s.served(t); got != first {
			t.Errorf("%s: another certificate is served", name)
		}
		if n := strings.Count(s.log.String(), bad.says); n != 1 {
			t.Errorf("%s: it was logged %d times", name, n)
		}
		good := s.ca.Loopback(t)
		good.Write(t, s.dir)
		eventually(t, "a good pair after "+name, func() bool { return s.served(t) != first })
		first = s.served(t)
	}
	if strings.Contains(s.log.String(), "PRIVATE KEY") {
		t.Errorf("a key is in the log:\n%s", s.log)
	}
}

func TestMistakesWithCertificatesAreExplained(t *testing.T) {
	ca := testca.New(t)
	good, other := ca.Loopback(t), ca.Loopback(t)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		write(t, dir, name, text)
		return filepath.Join(dir, name)
	}
	cert, key := file("cert.pem", good.Cert), file("key.pem", good.Key)
	encrypted := file("encrypted.pem", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	for _, tc := range []struct {
		name      string
		cert, key string
		says      []string
	}{
		{"a certificate without a key", cert, "", []string{"-tls-key"}},
		{"a key without a certificate", "", key, []string{"-tls-cert"}},
		{"a certificate that is not there", filepath.Join(dir, "nowhere.pem"), key, []string{"-tls-cert", "nowhere.pem", "no such file"}},
		{"a key that is not there", cert, filepath.Join(dir, "nokey.pem"), []string{"-tls-key", "nokey.pem", "no such file"}},
		{"a directory", dir, key, []string{"-tls-cert", dir, "directory"}},
		{"a key of another certificate", cert, file("other.pem", other.Key), []string{"cert.pem", "other.pem", "does not match", "made with"}},
		{"the two exchanged", key, cert, []string{"-tls-cert", "key.pem", "exchanged"}},
		{"a certificate where the key should be", cert, cert, []string{"-tls-key", "cert.pem", "no private key"}},
		{"a key with a passphrase", cert, encrypted, []string{"encrypted.pem", "passphrase", "openssl"}},
		{"nothing", file("empty.pem", nil), key, []string{"empty.pem", "no certificate"}},
		{"a certificate that was cut", file("cut.pem", good.Cert[:len(good.Cert)/2]), key, []string{"cut.pem", "no certificate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			app := &causeway.App{Ready: func(base string) { t.Errorf("serving at %s", base) }, Store: "memory"}
			app.Mount("/mcp", causeway.Server(greeter()))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			args := []string{"-addr", "127.0.0.1:0"}
			if tc.cert != "" {
				args = append(args, "-tls-cert", tc.cert)
			}
			if tc.key != "" {
				args = append(args, "-tls-key", tc.key)
			}
			err := app.Run(ctx, args)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "BEGIN") && strings.Contains(err.Error(), string(good.Key[40:60])) {
				t.Errorf("a key is in %q", err)
			}
		})
	}
}

func TestAKeyThatOthersCanReadIsReported(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes")
	}
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o666: true} {
		ca := testca.New(t)
		cert, key := ca.Loopback(t).Write(t, t.TempDir())
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		app := &causeway.App{TLSCert: cert, TLSKey: key, Store: "memory"}
		app.Mount("/mcp", causeway.Server(greeter()))
		log := new(logged)
		ready := make(chan string, 1)
		app.Ready = func(base string) { ready <- base }
		app.Logger = slog.New(slog.NewTextHandler(log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- app.Run(ctx, []string{"-addr", "127.0.0.1:0"}) }()
		<-ready
		if got := strings.Contains(log.String(), "chmod 600 "+key); got != warns {
			t.Errorf("%o: %s", mode, log)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAnIssuerWithoutTLSContradictsACertificate(t *testing.T) {
	cert, key := testca.New(t).Loopback(t).Write(t, t.TempDir())
	t.Setenv("CAUSEWAY_TLS_CERT", cert)
	t.Setenv("CAUSEWAY_TLS_KEY", key)
	app := &causeway.App{Store: "memory", SignIn: &oauth.Provider{Login: login.Dev(), Issuer: "http://127.0.0.1:9999"},
		Ready: func(base string) { t.Errorf("serving at %s", base) }}
	app.Mount("/mcp", causeway.Server(greeter()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := app.Run(ctx, []string{"-addr", "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:9999") || !strings.Contains(err.Error(), "https") {
		t.Errorf("Run = %v", err)
	}
}

// Cookies do not know ports: two servers under one name must not take each other's.
func TestTwoServersOfOneNameKeepTheirCookiesApart(t *testing.T) {
	ca := testca.New(t)
	ada := person.New("name", "ada")
	ada.Use(ca.Transport(t))
	var accounts []string
	for range 2 {
		app := &causeway.App{SignIn: &oauth.Provider{Login: login.Dev()}}
		app.Mount("/mcp", causeway.Server(greeter()))
		s := secure(t, app, func(*testca.Authority) testca.Pair { return ca.Loopback(t) })
		accounts = append(accounts, s.base+"/account")
		page, err := ada.Open(t.Context(), s.base+"/account")
		if err != nil {
			t.Fatal(err)
		}
		if page, err = ada.Submit(t.Context(), page, "", ""); err != nil || !strings.Contains(page.Body, "Sign out") {
			t.Fatalf("%v %s", err, page.Body)
		}
	}
	for _, account := range accounts {
		page, err := ada.Open(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(page.Body, "Sign out") {
			t.Errorf("%s: signed out: %s", account, page.Body)
		}
	}
}

// A client of HTTP/2 that reads nothing any more, with all the window it can ask for, holds
// up neither its handlers nor the end of the App.
func TestAClientOfHTTP2ThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel() // it waits for ten seconds
	cut := make(chan error, 1)
	app := &causeway.App{}
	app.Handle("/flood", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		for {
			_ = rc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, err := w.Write(make([]byte, 64<<10))
			if err == nil {
				err = rc.Flush()
			}
			if err != nil {
				cut <- err
				return
			}
		}
	}))
	s := secure(t, app, nil)
	conn, err := tls.Dial("tcp", s.addr(), &tls.Config{RootCAs: s.ca.Pool, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frame := func(kind, flags byte, stream uint32, body string) string {
		head := make([]byte, 9)
		binary.BigEndian.PutUint32(head, uint32(len(body))<<8|uint32(kind))
		head[4] = flags
		binary.BigEndian.PutUint32(head[5:], stream)
		return string(head) + body
	}
	const most = "\x7f\xff\x00\x00"
	head := "\x82\x87\x04\x06/flood\x41" + string(rune(len(s.addr()))) + s.addr() // RFC 7541: GET, https, :path, :authority
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(4, 0, 0, "\x00\x04"+most)+frame(8, 0, 0, most)+frame(1, 5, 1, head)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-cut:
	case <-time.After(time.Minute):
		t.Error("the handler waits for ever")
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// The limits of the wire hold over HTTP/2, where many requests share a connection: who does not
// send a body or does not read a stream loses that request, and the others go on.
func TestSlowClientsOfHTTP2HoldUpNobodyElse(t *testing.T) {
	said := make(chan error, 1)
	server := greeter()
	mcp.AddTool(server, &mcp.Tool{Name: "babble"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		text := strings.Repeat("x", 256<<10)
		for i := range 200 {
			err := r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "p", Progress: float64(i), Message: text})
			if err != nil {
				said <- err
				return nil, nil, err
			}
		}
		said <- nil
		return causeway.Text("done"), nil, nil
	})
	app := &causeway.App{}
	h := causeway.Server(server)
	h.Options.ReadTimeout, h.Options.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	app.Mount("/mcp", h)
	s := secure(t, app, nil)
	post := func(body io.Reader, method string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/mcp", body)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": method} {
			r.Header.Set(k, v)
		}
		return r
	}
	const meta = `"_meta":{"progressToken":"p","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	greet := func() {
		t.Helper()
		res, err := s.http.Do(post(strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"},`+meta+`}}`), "greet"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "Hello, Ada!") || res.ProtoMajor != 2 {
			t.Errorf("%s %s %v", res.Proto, body, err)
		}
	}
	greet()

	never, end := io.Pipe()
	defer end.Close()
	if res, err := s.http.Do(post(never, "greet")); err == nil {
		res.Body.Close()
		if res.StatusCode < 400 {
			t.Errorf("a body that never comes: %s", res.Status)
		}
	}
	greet()

	res, err := s.http.Do(post(strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"babble","arguments":{},`+meta+`}}`), "babble"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	greet() // while the stream stands still
	select {
	case <-said:
	case <-time.After(30 * time.Second):
		t.Error("the tool waits for a reader that does not read")
	}
	greet()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.log.String(), "outlasted") {
		t.Errorf("something was cut:\n%s", s.log)
	}
}

// Over HTTP/2 a deadline that has passed ends a stream even while nothing is being written.
func TestAQuietStreamOverHTTP2StaysOpen(t *testing.T) {
	app := &causeway.App{}
	h := causeway.Server(greeter())
	h.Options.WriteTimeout = 100 * time.Millisecond
	app.Mount("/mcp", h)
	s := secure(t, app, nil)
	res, err := s.http.Get(s.base + "/mcp") // HTTP+SSE of 2024-11-05
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := res.Body.Read(make([]byte, 1<<10)); err != nil || res.ProtoMajor != 2 {
		t.Fatalf("%s %v", res.Proto, err)
	}
	ended := make(chan error, 1)
	go func() { _, err := res.Body.Read(make([]byte, 1)); ended <- err }()
	select {
	case err := <-ended:
		t.Errorf("the stream ended: %v", err)
	case <-time.After(time.Second):
	}
}
