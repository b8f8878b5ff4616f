package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/causeway-mcp/causeway/bridge"
	"github.com/causeway-mcp/causeway/oauth/client"
)

// runConnect is a host's stdio server that stands for remote ones.
func runConnect(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	set, err := parseConnect(newFlags("connect", connectUsage, stderr), args)
	if err != nil {
		return err
	}
	if set.version {
		fmt.Fprintf(stdout, "causeway %s\n", version())
		return nil
	}
	small()
	signIn, err := client.New(set.signIn)
	if err != nil {
		return fmt.Errorf("setting up the sign-in: %w", err)
	}
	defer signIn.Close()
	if err := set.wire(signIn); err != nil {
		return err
	}
	b, err := bridge.New(set.bridge)
	if err != nil {
		return err
	}
	return b.Run(ctx, stdin, stdout)
}

// small keeps a process small that a host may start many times: it holds on to little
// more than the messages that are on their way.
func small() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// wire gives every server a transport that signs in.
func (s *connectSettings) wire(signIn *client.Client) error {
	base := bridge.NewTransport(s.transport)
	for i := range s.bridge.Servers {
		server := s.bridge.Servers[i].URL
		t, err := signIn.Transport(server, base)
		if err != nil {
			return err
		}
		s.bridge.Servers[i].Transport = remedied{t, loginCommand(server, s.loginFlags)}
	}
	if s.cookies {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return err
		}
		s.bridge.Jar = jar
	}
	return nil
}

// A remedied transport says what to do when a sign-in is needed that nobody may be asked for.
type remedied struct {
	http.RoundTripper
	remedy string
}

func (t remedied) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if errors.Is(err, client.ErrSignInNeeded) {
		err = signInFirst{"run: " + t.remedy, err}
	} else if explained := explainPrivate(err); explained != err {
		err = signInFirst{explained.Error(), err}
	}
	return answer, err
}

// signInFirst is an error that says what to do before a sign-in is worth another try.
type signInFirst struct {
	text string
	err  error
}

func (e signInFirst) Error() string   { return e.text }
func (e signInFirst) Unwrap() []error { return []error{bridge.ErrSignIn, e.err} }

// explainPrivate says how a sign-in on a private network is allowed, if that is what err is about.
func explainPrivate(err error) error {
	var private *client.PrivateHostError
	if !errors.As(err, &private) {
		return err
	}
	return fmt.Errorf("%w; if people of your organization sign in there, add --allow-private %s", private, private.Host)
}

// loginCommand is how to sign in to a server; it is shown to the host, so that it leaves out
// what may be secret of the URL.
func loginCommand(server string, flags bool) string {
	u, err := url.Parse(server)
	if err != nil {
		return "causeway login URL"
	}
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.RawQuery != "" {
		shown += "?…"
	}
	if flags {
		shown += " with the flags of this connect"
	}
	return "causeway login " + shown
}

// connectSettings are what the flags of connect come to.
type connectSettings struct {
	bridge    bridge.Options
	transport bridge.TransportOptions
	signIn    client.Options
	cookies   bool
	// loginFlags: there are flags that login must be given too.
	loginFlags bool
	version    bool
}

func (f *connectFlags) settings(stderr io.Writer) (*connectSettings, error) {
	log := f.logger(stderr)
	header, err := f.headers(log)
	if err != nil {
		return nil, err
	}
	s := &connectSettings{cookies: !f.disableCookies, version: f.version, loginFlags: f.forLogin()}
	for _, server := range f.servers {
		if err := bridge.CheckURL(server.url, f.allowHTTP); err != nil {
			return nil, err
		}
		if err := checkPort(server.url); err != nil {
			return nil, err
		}
		s.bridge.Servers = append(s.bridge.Servers, bridge.Server{URL: server.url, Name: server.name, Header: header})
	}
	s.bridge.Logger = log
	s.bridge.AllowHTTP = f.allowHTTP
	s.bridge.AllowTools, s.bridge.IgnoreTools, s.bridge.ReadOnly = f.allowTools, f.ignoreTools, f.readOnly
	if s.bridge.Protocol, err = protocolOf(f.protocol); err != nil {
		return nil, err
	}
	if s.bridge.TransportOrder, err = transportOf(f.transport); err != nil {
		return nil, err
	}
	if f.keepAlive || f.pingIntervalSet {
		s.bridge.PingInterval = time.Duration(f.pingInterval) * time.Second
	}
	s.bridge.IdleTimeout = seconds(f.bodyTimeout)
	if dir, err := os.UserCacheDir(); err == nil {
		s.bridge.CacheDir = filepath.Join(dir, "causeway", "connect")
	}
	s.transport = bridge.TransportOptions{Proxy: f.enableProxy, IPv4: f.ipv4,
		ConnectTimeout: seconds(f.connectTimeout), HeadersTimeout: seconds(f.headersTimeout)}
	s.signIn, err = f.signIn(header, log)
	s.signIn.Prompt = func(p client.Prompt) { prompt(stderr, p) }
	return s, err
}

// forLogin reports whether there are flags that decide how a sign-in is done, and under
// which name its tokens are kept.
func (f *connectFlags) forLogin() bool {
	return f.allowHTTP || len(f.allowPrivate) > 0 || f.deviceCode || f.clientCredentials || f.disableResource || len(f.header) > 0 || len(f.headerFile) > 0 || len(f.authorizeParams) > 0 ||
		f.staticInfo+f.staticMetadata+f.clientMetadataURL+f.resource+f.tokenEndpoint+f.host+f.callbackPath != ""
}

// seconds reads 0 as for ever, which is what it means to mcp-remote.
func seconds(n int) time.Duration {
	if n == 0 {
		return 365 * 24 * time.Hour
	}
	return time.Duration(n) * time.Second
}

func (f *connectFlags) logger(stderr io.Writer) *slog.Logger {
	level := slog.LevelWarn
	switch {
	case f.debug:
		level = slog.LevelDebug
	case f.silent:
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
}

// prompt tells a person where to sign in; hosts show it in their logs.
func prompt(stderr io.Writer, p client.Prompt) {
	if p.UserCode != "" {
		fmt.Fprintf(stderr, "To sign in, open %s and enter the code %s\n", p.URL, p.UserCode)
		return
	}
	fmt.Fprintf(stderr, "To sign in, open %s\n", p.URL)
}

func protocolOf(name string) (bridge.Protocol, error) {
	switch name {
	case "auto":
		return bridge.ProtocolAuto, nil
	case "legacy":
		return bridge.ProtocolLegacy, nil
	case "modern":
		return bridge.ProtocolModern, nil
	}
	return 0, fmt.Errorf("--protocol %q: it is auto, legacy or modern", name)
}

func transportOf(name string) (bridge.TransportOrder, error) {
	switch name {
	case "http-first":
		return bridge.HTTPFirst, nil
	case "sse-first":
		return bridge.SSEFirst, nil
	case "http-only":
		return bridge.HTTPOnly, nil
	case "sse-only":
		return bridge.SSEOnly, nil
	}
	return 0, fmt.Errorf("--transport %q: it is http-first, sse-first, http-only or sse-only", name)
}

// signIn is what the flags say about tokens.
func (f *connectFlags) signIn(header http.Header, log *slog.Logger) (client.Options, error) {
	o := client.Options{
		Logger: log, Headers: header, NonInteractive: f.nonInteractive,
		SignInTimeout:     seconds(f.authTimeout),
		ClientMetadataURL: f.clientMetadataURL,
		Resource:          f.resource, OmitResource: f.disableResource,
		UseIDToken: f.useIDToken, TokenEndpoint: f.tokenEndpoint,
		CallbackHost: f.host, CallbackPort: f.port, CallbackPath: f.callbackPath, SuccessURL: f.authSuccessURL,
		AuthorizeParams: f.authorizeParams,
	}
	o.Policy.AllowHTTP, o.Policy.PrivateHosts = f.allowHTTP, f.allowPrivate
	if err := o.Policy.Check(); err != nil {
		return o, fmt.Errorf("--allow-private: %w", err)
	}
	switch {
	case f.deviceCode && f.clientCredentials:
		return o, errors.New("--device-code and --client-credentials are two ways to sign in; choose one")
	case f.deviceCode:
		o.Grant = client.DeviceCode{}
	case f.clientCredentials:
		o.Grant = client.ClientCredentials{}
	}
	return o, f.staticClient(&o)
}
