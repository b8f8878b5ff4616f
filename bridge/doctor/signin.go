package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var metadataParam = regexp.MustCompile(`(?i)resource_metadata\s*=\s*"([^"]*)"`)

// checkSignIn follows the chain of discovery: challenge, protected resource,
// authorization server.
func (e *examination) checkSignIn(ctx context.Context) {
	servers := e.checkResource(ctx)
	for i, issuer := range servers {
		if i == 3 {
			break // the rest would be more of the same
		}
		e.checkIssuer(ctx, issuer)
	}
}

func (e *examination) fetch(ctx context.Context, to string) *exchange {
	return e.http.do(ctx, http.MethodGet, to, http.Header{"Accept": {"application/json"}, "Mcp-Protocol-Version": {versionModern}}, "", "")
}

// allowed says why a URL that a stranger named is not followed, "" if it is.
func (e *examination) allowed(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "it is no URL of a web server"
	case u.User != nil || u.Fragment != "":
		return "it has a password or a fragment in it"
	case u.Scheme == "http" && isPublicHost(u.Hostname()):
		return "it is plain http"
	case isPublicHost(e.url.Hostname()) && !isPublicHost(u.Hostname()):
		return "a server on the internet names an address inside this network"
	}
	return ""
}

// checkResource finds the protected resource metadata (RFC 9728) and returns the
// authorization servers it names.
func (e *examination) checkResource(ctx context.Context) []string {
	origin := e.url.Scheme + "://" + e.url.Host
	var places []string
	if m := metadataParam.FindStringSubmatch(e.challenge); m != nil {
		if why := e.allowed(m[1]); why != "" {
			e.add(Step{Name: "resource metadata", Verdict: Failure, Summary: "The challenge names a place that clients will not go to: " + why + ".", Got: clean(m[1]),
				Spec: "RFC 9728 §5.1, and the security considerations: https, and no addresses inside.", Fix: "Name the public https URL."})
			return nil
		}
		places = append(places, m[1])
	} else {
		if path := strings.TrimSuffix(e.url.EscapedPath(), "/"); path != "" {
			places = append(places, origin+"/.well-known/oauth-protected-resource"+path)
		}
		places = append(places, origin+"/.well-known/oauth-protected-resource")
	}
	var last *exchange
	for _, place := range places {
		x := e.fetch(ctx, place)
		last = x
		if x.err != nil || x.status != http.StatusOK {
			continue
		}
		var doc struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
		}
		if json.Unmarshal(x.body, &doc) != nil {
			e.add(x.step(Step{Name: "resource metadata", Verdict: Failure, Summary: "The protected resource metadata are no JSON object.",
				Spec: "RFC 9728 §3.2: application/json.", Fix: "Serve the document, and not a web page, at this path."}))
			return nil
		}
		s := Step{Name: "resource metadata", Verdict: OK, Summary: fmt.Sprintf("The resource is %s; sign-in is at %s.", cleanShort(doc.Resource), clean(strings.Join(doc.Servers, ", ")))}
		switch {
		case !covers(doc.Resource, e.url):
			s.Verdict, s.Summary = Failure, fmt.Sprintf("The metadata are for another resource, %s.", cleanShort(doc.Resource))
			s.Spec = "RFC 9728 §3.3: resource must be the URL of the server, or clients must not use the document."
			s.Fix = fmt.Sprintf("Set resource to %s, scheme, host, port and path. Behind a proxy, tell the server its public URL.", redactURL(e.o.URL))
		case len(doc.Servers) == 0:
			s.Verdict, s.Summary = Failure, "The metadata name no authorization server."
			s.Spec, s.Fix = "Authorization: authorization_servers has at least one issuer.", "Name it."
		}
		e.add(x.step(s))
		if s.Verdict == Failure {
			return nil
		}
		return doc.Servers
	}
	// Servers of 2025-03-26 are their own authorization server.
	e.add(last.step(Step{Name: "resource metadata", Verdict: Warning, Summary: "There are no protected resource metadata; the server may be its own authorization server, as in 2025-03-26.",
		Spec: "Authorization (2025-06-18 on): RFC 9728 is required.", Fix: "Serve /.well-known/oauth-protected-resource" + e.url.EscapedPath() + "."}))
	return []string{origin}
}

// covers reports whether a resource is the URL, or a parent of it on the same origin.
func covers(resource string, u *url.URL) bool {
	r, err := url.Parse(resource)
	if err != nil || !strings.EqualFold(r.Scheme, u.Scheme) || !strings.EqualFold(r.Host, u.Host) {
		return false
	}
	parent := strings.TrimSuffix(r.EscapedPath(), "/")
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return path == parent || strings.HasPrefix(path, parent+"/")
}

type issuerDocument struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Registration  string   `json:"registration_endpoint"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	Responses     []string `json:"response_types_supported"`
	Grants        []string `json:"grant_types_supported"`
	Documents     bool     `json:"client_id_metadata_document_supported"`
	Iss           bool     `json:"authorization_response_iss_parameter_supported"`
}

// checkIssuer finds and reads the authorization server's metadata (RFC 8414, OpenID
// Connect Discovery).
func (e *examination) checkIssuer(ctx context.Context, issuer string) {
	if why := e.allowed(issuer); why != "" {
		e.add(Step{Name: "authorization server", Verdict: Failure, Summary: "Clients will not go to this authorization server: " + why + ".", Got: clean(issuer),
			Spec: "RFC 8414 §2: the issuer is an https URL without query or fragment.", Fix: "Name the public https URL."})
		return
	}
	u, _ := url.Parse(issuer) // allowed has parsed it
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{origin + "/.well-known/oauth-authorization-server" + path, origin + "/.well-known/openid-configuration" + path}
	if path != "" {
		places = append(places, origin+path+"/.well-known/openid-configuration")
	}
	var last *exchange
	for _, place := range places {
		x := e.fetch(ctx, place)
		last = x
		var doc issuerDocument
		if x.err == nil && x.status == http.StatusOK && json.Unmarshal(x.body, &doc) == nil && doc.Issuer != "" {
			e.judgeIssuer(x, issuer, &doc)
			return
		}
	}
	e.add(last.step(Step{Name: "authorization server", Verdict: Failure, Summary: "The authorization server publishes no metadata; it was looked for at\n  " + clean(strings.Join(places, "\n  ")),
		Spec: "Authorization: RFC 8414 or OpenID Connect Discovery is required; clients try these places in this order.",
		Fix:  "Serve the metadata at the first of them, or name the right issuer in the protected resource metadata."}))
}

func (e *examination) judgeIssuer(x *exchange, issuer string, doc *issuerDocument) {
	s := Step{Name: "authorization server", Verdict: OK}
	fail := func(summary, spec, fix string) {
		if s.Verdict != Failure {
			s.Verdict, s.Summary, s.Spec, s.Fix = Failure, summary, spec, fix
		}
	}
	warn := func(summary, spec, fix string) {
		if s.Verdict == OK {
			s.Verdict, s.Summary, s.Spec, s.Fix = Warning, summary, spec, fix
		}
	}
	if doc.Issuer != issuer {
		fail(fmt.Sprintf("The metadata are of another issuer: %s, and not %s.", cleanShort(doc.Issuer), cleanShort(issuer)),
			"RFC 8414 §3.3: issuer must be the same text, or clients must not use the document.", "Make both the same, slash at the end included.")
	}
	for name, endpoint := range map[string]string{"authorization_endpoint": doc.Authorization, "token_endpoint": doc.Token} {
		if endpoint == "" {
			fail("The metadata name no "+name+".", "RFC 8414 §2.", "Name it.")
		} else if why := e.allowed(endpoint); why != "" {
			fail("Clients will not go to the "+name+": "+why+".", "OAuth 2.1 §1.5: https.", "Name the public https URL.")
		}
	}
	if !slices.Contains(doc.Challenges, "S256") {
		fail("It does not say that it takes PKCE with S256.", "Authorization: clients must refuse to go on if code_challenge_methods_supported has no S256.", "Turn PKCE on and list it.")
	}
	if len(doc.Responses) > 0 && !slices.Contains(doc.Responses, "code") {
		fail("It has no authorization code flow.", "OAuth 2.1 §4.1.", "List code in response_types_supported.")
	}
	if !doc.Documents && doc.Registration == "" {
		warn("Clients cannot introduce themselves: there is neither registration nor support for client metadata documents.",
			"Authorization: pre-registration, client id metadata documents, or dynamic registration (RFC 7591).",
			"Turn one of them on, or give every client its id by hand (causeway connect --static-oauth-client-info).")
	}
	if !doc.Iss {
		warn("It does not say that it names itself in its answers (iss).", "RFC 9207; clients of several servers need it against mix-ups.", "Send iss and announce it.")
	}
	if s.Verdict == OK {
		var ways []string
		if doc.Documents {
			ways = append(ways, "client metadata documents")
		}
		if doc.Registration != "" {
			ways = append(ways, "registration")
		}
		s.Summary = fmt.Sprintf("The authorization server %s is in order; clients introduce themselves by %s.", cleanShort(issuer), strings.Join(ways, " or "))
	}
	e.add(x.step(s))
}
