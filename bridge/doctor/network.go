package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func (e *examination) checkURL() bool {
	u, err := url.Parse(e.o.URL)
	if why, fix := badURL(u, err, e.o.URL); why != "" {
		e.add(Step{Name: "url", Verdict: Failure, Summary: "This is no URL of an MCP server: " + why + ".", Got: redactURL(e.o.URL), Fix: fix})
		return false
	}
	if u.User != nil {
		e.add(Step{Name: "url", Verdict: Failure, Summary: "The URL holds a user name or password.",
			Spec: "Authorization: access tokens go in the Authorization header, never in the URL.",
			Fix:  "Take it out, and give a header instead."})
		return false
	}
	e.url = u
	s := Step{Name: "url", Verdict: OK, Summary: fmt.Sprintf("The server is %s at %s.", u.Hostname(), u.EscapedPath())}
	switch {
	case u.Scheme == "http" && isPublicHost(u.Hostname()):
		s.Verdict, s.Summary = Warning, "The URL is plain http, and the host is not this machine."
		s.Spec = "Authorization: all endpoints must be served over https; http is for loopback only."
		s.Fix = "Put the server behind TLS. Clients refuse to send tokens without."
	case u.Path == "" || u.Path == "/":
		s.Summary = fmt.Sprintf("The server is %s, without a path; most are at /mcp.", u.Hostname())
	}
	e.add(s)
	return true
}

// badURL says what is wrong with a URL and what to give instead, nothing if it will do.
func badURL(u *url.URL, err error, text string) (why, fix string) {
	const whole = "Give all of it, as in https://mcp.example.com/mcp."
	if !strings.Contains(text, "://") {
		return "it has no scheme", "Begin with https://, or http:// for a server on this machine: all of it is like https://mcp.example.com/mcp."
	}
	switch {
	case err != nil:
		return "it cannot be read as one", whole
	case u.Scheme != "https" && u.Scheme != "http":
		return "its scheme is neither https nor http", "Begin with https://, or http:// for a server on this machine."
	case u.Hostname() == "":
		return "it names no host", whole
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return "there is no port " + clean(u.Port()), "Ports are from 1 to 65535; without one it is 443 for https, 80 for http."
	}
	return "", ""
}

// checkNetwork gets as far as a connection: name, address, port, TLS.
func (e *examination) checkNetwork(ctx context.Context) bool {
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: e.url}); err == nil && proxy != nil {
		e.add(Step{Name: "proxy", Verdict: OK, Summary: fmt.Sprintf("Requests go through the proxy %s, as the environment says; name, port and TLS are its business.", proxy.Host)})
		return true
	}
	host, port := e.url.Hostname(), e.url.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[e.url.Scheme]
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	took := time.Since(start).Milliseconds()
	asked := "a look-up of the name " + host
	if err != nil {
		e.add(Step{Name: "dns", Verdict: Failure, Took: took, Sent: asked, Summary: fmt.Sprintf("The name %s has no address.", host), Got: plainError(err).Error(),
			Fix: "Check the spelling, and whether the name is known on this network (VPN, internal DNS)."})
		return false
	}
	e.add(Step{Name: "dns", Verdict: OK, Took: took, Sent: asked, Summary: fmt.Sprintf("%s is %s.", host, strings.Join(addrs, ", "))})

	start = time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	took = time.Since(start).Milliseconds()
	asked = "a TCP connection to " + net.JoinHostPort(host, port)
	if err != nil {
		e.add(Step{Name: "tcp", Verdict: Failure, Took: took, Sent: asked, Summary: fmt.Sprintf("Nothing answers at port %s.", port), Got: plainError(err).Error(),
			Fix: "Is the server running, and does it listen on this address and not on loopback only? Does a firewall stand between?"})
		return false
	}
	defer conn.Close()
	e.add(Step{Name: "tcp", Verdict: OK, Took: took, Sent: asked, Summary: fmt.Sprintf("Port %s is open.", port)})
	if e.url.Scheme != "https" {
		return true
	}
	start = time.Now()
	c := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS10})
	err = c.HandshakeContext(ctx)
	s := Step{Name: "tls", Verdict: OK, Took: time.Since(start).Milliseconds(), Sent: "a TLS handshake for " + host + ", of TLS 1.0 or newer"}
	if err != nil {
		s.Verdict, s.Summary, s.Fix = tlsProblem(err, host)
		s.Got = plainError(err).Error()
		e.add(s)
		return false
	}
	state := c.ConnectionState()
	left := time.Until(state.PeerCertificates[0].NotAfter)
	s.Summary = fmt.Sprintf("%s, certificate of %s, good for %d more days.", tls.VersionName(state.Version), clean(state.PeerCertificates[0].Issuer.CommonName), int(left.Hours()/24))
	switch {
	case state.Version < tls.VersionTLS12:
		s.Verdict, s.Fix = Failure, "Clients want TLS 1.2 or newer: update the server's TLS settings."
	case left < 7*24*time.Hour:
		s.Verdict, s.Fix = Warning, "The certificate ends soon: see to its renewal."
	}
	e.add(s)
	return s.Verdict != Failure
}

func tlsProblem(err error, host string) (Verdict, string, string) {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &name):
		return Failure, "The certificate is for another name.", fmt.Sprintf("Get one that names %s.", host)
	case errors.As(err, &unknown):
		return Failure, "The certificate is from an authority that this machine does not know.",
			"If it is your own authority, install its certificate here (SSL_CERT_FILE). Else get one of a public authority; servers must also send the intermediate certificates."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Failure, "The certificate has ended, or the clock of this machine is wrong.", "Renew it, and check the clock."
	case errors.As(err, &record):
		return Failure, "What answers there does not speak TLS.", "Use http:// if it is on this machine, or put TLS in front of it."
	}
	return Failure, "No TLS connection came about.", "See what it says above; a proxy between may be the cause."
}
