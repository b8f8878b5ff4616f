package oauth

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	maxRedirects   = 32
	maxRedirectURI = 2048
)

// Schemes that run code, read files or hide where a redirect goes.
var dangerousSchemes = []string{"javascript", "data", "vbscript", "file", "mailto", "blob", "about", "filesystem", "view-source", "ws", "wss", "ftp"}

var schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+-]*\.[a-z0-9+.-]+$`)

// safeRedirect reports whether uri may be registered: https, http on loopback (RFC
// 8252 §7.3), or, if custom is set, a private-use scheme in reverse domain form (RFC
// 8252 §7.1). Neither fragment nor user, and no byte that a parser may skip.
func safeRedirect(uri string, custom bool) bool {
	if uri == "" || len(uri) > maxRedirectURI || strings.ContainsFunc(uri, isUnsafe) || strings.Contains(uri, "#") {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || slices.Contains(dangerousSchemes, u.Scheme) {
		return false
	}
	// Escapes hide letters that look like others from the check above, and from the person
	// who reads the host on the consent page. Hosts that need them are written as "xn--".
	if strings.ContainsFunc(u.Host, isUnsafe) || strings.Contains(u.Host, "%") {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Hostname() != "" && u.Opaque == ""
	case "http":
		return isLoopbackHost(u.Hostname()) && u.Opaque == ""
	}
	return custom && schemeForm.MatchString(u.Scheme)
}

func isUnsafe(r rune) bool {
	return r <= ' ' || r >= 0x7f || r == '\\' || r == '"' || r == '<' || r == '>' || r == '`' || r == '{' || r == '}' || r == '|' || r == '^'
}

// matchRedirect reports whether a client that registered the given URIs may be sent to
// uri: byte for byte (RFC 9700 §2.1), but for the port of a loopback address, which a
// native program gets when it starts (RFC 8252 §7.3). Programs in the field say
// "localhost" as well; the same is allowed there to public clients only.
func matchRedirect(registered []string, uri string, public bool) bool {
	if slices.Contains(registered, uri) {
		return true
	}
	asked, ok := withoutLoopbackPort(uri, public)
	if !ok {
		return false
	}
	for _, r := range registered {
		if have, ok := withoutLoopbackPort(r, public); ok && have == asked {
			return true
		}
	}
	return false
}

// withoutLoopbackPort is uri without its port, if it is http on loopback.
func withoutLoopbackPort(uri string, localhost bool) (string, bool) {
	if !safeRedirect(uri, false) {
		return "", false
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" && !localhost {
		return "", false
	}
	rest, ok := strings.CutPrefix(uri, "http://"+u.Host)
	if !ok {
		return "", false // some other spelling of scheme or host
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "http://" + host + rest, true
}

// redirectHost is what the consent page says of where the answer goes.
func redirectHost(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	if u.Host == "" {
		return u.Scheme + ":"
	}
	if host, _, err := net.SplitHostPort(u.Host); err == nil && isLoopbackHost(host) {
		return host
	}
	return u.Host
}

func isLoopbackURI(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && isLoopbackHost(u.Hostname())
}
