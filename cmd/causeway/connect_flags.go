package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/causeway-mcp/causeway/oauth/client"
)

const connectUsage = `Usage: causeway connect URL [URL…] [flags]

Stands on stdin and stdout for a remote MCP server: the command of a host that starts
local servers only. Flags may stand before or after the URL; they are those of mcp-remote.

  causeway connect https://mcp.example.com/mcp
  causeway connect https://mcp.example.com/mcp --header "X-Key: ${KEY}"
  causeway connect docs=https://docs.example.com/mcp code=https://code.example.com/mcp

Several servers become one: their tools are called docs__search, code__review and so on.
A number after the URL is the port of this machine, 1 to 65535, at which the browser
answers after a sign-in; a free one is taken if it is left out.

Flags:
`

// connectFlags are the flags as they were written.
type connectFlags struct {
	servers []connectServer
	port    int

	header, headerFile                            []string
	transport, protocol                           string
	host, callbackPath, authSuccessURL            string
	authTimeout                                   int
	allowHTTP, deviceCode, clientCredentials      bool
	allowPrivate                                  []string
	tokenEndpoint                                 string
	staticInfo, staticMetadata, clientMetadataURL string
	resource                                      string
	disableResource, useIDToken                   bool
	authorizeParams                               url.Values
	ignoreTools, allowTools                       []string
	readOnly, nonInteractive                      bool
	enableProxy, ipv4                             bool
	connectTimeout, headersTimeout, bodyTimeout   int
	keepAlive, pingIntervalSet                    bool
	pingInterval                                  int
	disableCookies, debug, silent, version        bool
}

type connectServer struct{ name, url string }

// list is a flag that may be given several times.
func list(to *[]string) func(string) error {
	return func(value string) error { *to = append(*to, value); return nil }
}

func (f *connectFlags) define(fs *flag.FlagSet) {
	fs.Func("header", "`\"Name: value\"` to send with every request; ${NAME} is taken from the environment; may be repeated", list(&f.header))
	fs.Func("header-file", "a `file` with one header a line; # begins a comment", list(&f.headerFile))
	fs.StringVar(&f.transport, "transport", "http-first", "http-first, sse-first, http-only or sse-only")
	fs.StringVar(&f.protocol, "protocol", "auto", "auto, legacy (up to 2025-11-25) or modern (2026-07-28)")
	fs.StringVar(&f.host, "host", "", "the host `name` in the address that a sign-in comes back to")
	fs.StringVar(&f.callbackPath, "callback-path", "", "the `path` of that address")
	fs.StringVar(&f.authSuccessURL, "auth-success-url", "", "the `page` to show after a sign-in")
	fs.IntVar(&f.authTimeout, "auth-timeout", 300, "`seconds` that a person has to sign in")
	fs.BoolVar(&f.allowHTTP, "allow-http", false, "allow http to other machines; anybody on the way can read it")
	fs.Func("allow-private", "a `host` on a private network at which a public server may have people sign in; may be repeated", list(&f.allowPrivate))
	fs.BoolVar(&f.deviceCode, "device-code", false, "sign in on another device, with a code")
	fs.BoolVar(&f.clientCredentials, "client-credentials", false, "sign in as the client itself, with the secret of --static-oauth-client-info")
	fs.StringVar(&f.tokenEndpoint, "token-endpoint", "", "the `URL` to get tokens at, without looking for it")
	fs.StringVar(&f.staticInfo, "static-oauth-client-info", "", "a client that is registered: `JSON` with client_id and client_secret, or @file")
	fs.StringVar(&f.staticMetadata, "static-oauth-client-metadata", "", "what to register with: `JSON` or @file")
	fs.StringVar(&f.clientMetadataURL, "client-metadata-url", "", "the `URL` of a client ID metadata document")
	fs.StringVar(&f.resource, "resource", "", "the `URI` that tokens are asked for")
	fs.BoolVar(&f.disableResource, "disable-resource-parameter", false, "send no resource parameter")
	fs.Func("authorize-param", "`name=value` to add to the request for a sign-in; may be repeated", f.authorizeParam)
	fs.BoolVar(&f.useIDToken, "use-id-token", false, "send the ID token in place of the access token")
	fs.Func("ignore-tool", "hide the tools whose names fit the `pattern`; * stands for any text; may be repeated", list(&f.ignoreTools))
	fs.Func("allow-tool", "show only the tools whose names fit the `pattern`; may be repeated", list(&f.allowTools))
	fs.BoolVar(&f.readOnly, "read-only", false, "show only the tools that say they only read")
	fs.BoolVar(&f.nonInteractive, "non-interactive", false, "never ask for a sign-in; see causeway login")
	fs.BoolVar(&f.enableProxy, "enable-proxy", true, "go through HTTP_PROXY and HTTPS_PROXY, except for NO_PROXY")
	fs.BoolVar(&f.ipv4, "ipv4", false, "connect by IPv4 only")
	fs.IntVar(&f.connectTimeout, "connect-timeout", 10, "`seconds` to reach the server")
	fs.IntVar(&f.headersTimeout, "headers-timeout", 300, "`seconds` until an answer begins; 0 for no limit")
	fs.IntVar(&f.bodyTimeout, "body-timeout", 300, "`seconds` between two parts of an answer; 0 for no limit")
	fs.BoolVar(&f.keepAlive, "keep-alive", false, "ping a server of the old eras now and then")
	fs.Func("ping-interval", "`seconds` between pings (default 30)", f.ping)
	fs.BoolVar(&f.disableCookies, "disable-cookies", false, "keep no cookies")
	fs.BoolVar(&f.debug, "debug", false, "log what happens on stderr")
	fs.BoolVar(&f.silent, "silent", false, "log nothing")
	fs.BoolVar(&f.version, "version", false, "print the version")
}

func (f *connectFlags) ping(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return errors.New("want a number of seconds")
	}
	f.pingInterval, f.pingIntervalSet = n, true
	return nil
}

func (f *connectFlags) authorizeParam(value string) error {
	name, text, ok := strings.Cut(value, "=")
	if !ok || name == "" {
		return errors.New("want name=value")
	}
	if f.authorizeParams == nil {
		f.authorizeParams = url.Values{}
	}
	f.authorizeParams.Add(name, text)
	return nil
}

// parseConnect reads a command line with the flags of connect, besides those that fs has.
// An error has been explained.
func parseConnect(fs *flags, args []string) (*connectSettings, error) {
	f := &connectFlags{pingInterval: 30}
	f.define(fs.FlagSet)
	rest, err := fs.parse(args)
	if err != nil {
		return nil, err
	}
	for _, arg := range rest {
		if err := f.positional(arg); err != nil {
			return nil, fs.wrong("%v", err)
		}
	}
	for name, n := range map[string]int{"auth-timeout": f.authTimeout, "connect-timeout": f.connectTimeout,
		"headers-timeout": f.headersTimeout, "body-timeout": f.bodyTimeout} {
		if n < 0 {
			return nil, fs.wrong("--%s %d: want a number of seconds", name, n)
		}
	}
	if len(f.servers) == 0 && !f.version {
		return nil, fs.wrong("which server? Give its URL, as in: %s https://mcp.example.com/mcp", fs.Name())
	}
	s, err := f.settings(fs.Output())
	if err != nil {
		return nil, fs.wrong("%v", err)
	}
	return s, nil
}

// badPort says what is wrong with a number among the arguments.
func badPort(port int, first bool) error {
	switch {
	case port < 1 || port > 65535:
		return fmt.Errorf("the port %d for the answer of a sign-in is none: it is from 1 to 65535, above 1023 for most people; leave it out, and a free one is taken", port)
	case first:
		return fmt.Errorf("%d stands before the URL: a port for the answer of a sign-in comes after the URL, from 1 to 65535", port)
	default:
		return fmt.Errorf("%d is a second port: give one after the URL, from 1 to 65535", port)
	}
}

// positional takes a URL, NAME=URL or, as mcp-remote has it, the callback port.
func (f *connectFlags) positional(arg string) error {
	if port, err := strconv.Atoi(arg); err == nil {
		if port < 1 || port > 65535 || len(f.servers) == 0 || f.port != 0 {
			return badPort(port, len(f.servers) == 0)
		}
		f.port = port
		return nil
	}
	server := connectServer{url: arg}
	if name, rest, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, ":/?") {
		server = connectServer{name, rest}
	}
	f.servers = append(f.servers, server)
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts variables of the environment in for ${NAME}. Those that are not set stay as
// they are written.
func expand(text string, missing func(name string)) string {
	return variable.ReplaceAllStringFunc(text, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value, ok := os.LookupEnv(name)
		if !ok {
			missing(name)
			return ref
		}
		return value
	})
}

// headers reads --header and --header-file. An error never quotes a value.
func (f *connectFlags) headers(log *slog.Logger) (http.Header, error) {
	lines := f.header
	for _, path := range f.headerFile {
		more, err := headerLines(path)
		if err != nil {
			return nil, fmt.Errorf("--header-file: %w", err)
		}
		lines = append(lines, more...)
	}
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		value = strings.TrimSpace(expand(value, func(v string) {
			log.Warn("a header refers to a variable that is not set", "header", name, "variable", v)
		}))
		if !ok || !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, errors.New(`--header: want "Name: value"`)
		}
		h.Add(textproto.CanonicalMIMEHeaderKey(name), value)
	}
	return h, nil
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func headerLines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []string
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, scanner.Err()
}

// jsonOrFile reads a flag that is JSON, or @ and the name of a file with it.
func jsonOrFile(name, value string, env bool, into any) error {
	if path, ok := strings.CutPrefix(value, "@"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		value = string(data)
	}
	if env {
		value = expand(value, func(string) {})
	}
	if err := json.Unmarshal([]byte(value), into); err != nil {
		return fmt.Errorf("--%s is not a JSON object", name) // the value may be a secret
	}
	return nil
}

// staticClient reads what was registered beforehand, or is to be registered.
func (f *connectFlags) staticClient(o *client.Options) error {
	if f.staticInfo != "" {
		var info struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
			Method string `json:"token_endpoint_auth_method"`
		}
		if err := jsonOrFile("static-oauth-client-info", f.staticInfo, true, &info); err != nil {
			return err
		}
		if info.ID == "" {
			return errors.New("--static-oauth-client-info has no client_id")
		}
		o.ClientID, o.AuthMethod = info.ID, info.Method
		if info.Secret != "" {
			o.ClientSecret = client.NewSecret(info.Secret)
		}
	}
	if f.staticMetadata != "" {
		if err := jsonOrFile("static-oauth-client-metadata", f.staticMetadata, false, &o.ClientMetadata); err != nil {
			return err
		}
		if scope, ok := o.ClientMetadata["scope"].(string); ok {
			o.Scopes = strings.Fields(scope)
		}
	}
	return nil
}
