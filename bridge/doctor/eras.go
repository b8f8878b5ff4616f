package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/bridge/call"
)

const (
	versionModern = "2026-07-28"
	versionLegacy = "2025-11-25"
)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + versionModern + `","io.modelcontextprotocol/clientInfo":{"name":"causeway-doctor","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

func (e *examination) header(more ...string) http.Header {
	h := e.o.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// A message is a JSON-RPC answer.
type message struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int64           `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

func (x *exchange) message() *message {
	var m message
	if json.Unmarshal(x.body, &m) != nil || m.Result == nil && m.Error == nil {
		return nil
	}
	return &m
}

// checkEras finds out which protocol versions the server speaks, and how.
func (e *examination) checkEras(ctx context.Context) {
	e.modern, e.legacy, e.session = false, false, ""
	if !e.discover(ctx) {
		return
	}
	if !e.initialize(ctx) {
		return
	}
	if !e.modern && !e.legacy {
		e.sse(ctx)
	}
}

// refused handles what is wrong with an answer as such. It reports whether there is
// anything more to learn from others.
func (e *examination) refused(name string, x *exchange) (done, more bool) {
	switch {
	case x.err != nil:
		e.add(x.step(Step{Name: name, Verdict: Failure, Summary: "The server did not answer: " + x.err.Error() + ".",
			Fix: "Look into the server's log, and that of the proxy in front of it."}))
		return true, false
	case x.status == http.StatusUnauthorized:
		e.report.NeedsSignIn = true
		e.challenge = strings.Join(x.header.Values("Www-Authenticate"), ", ")
		s := Step{Name: name, Verdict: OK, Summary: "The server wants a sign-in first."}
		if !strings.Contains(strings.ToLower(e.challenge), "resource_metadata") {
			s.Verdict, s.Summary = Warning, "The server wants a sign-in, and does not say where."
			s.Spec = "Authorization (RFC 9728 §5.1): a 401 carries WWW-Authenticate: Bearer resource_metadata=\"URL\". Without it clients try the well-known places."
			s.Fix = "Send the header with the URL of the protected resource metadata."
		}
		e.add(x.step(s))
		return true, false
	case x.status == http.StatusForbidden:
		e.add(x.step(Step{Name: name, Verdict: Failure, Summary: "The server forbids it.",
			Spec: "403 is for a foreign Origin or Host, and for a token that lacks a scope (with WWW-Authenticate: error=\"insufficient_scope\").",
			Fix:  "If there is a proxy in front, add the public name to the server's allowed hosts; if a firewall of a cloud answered, let /mcp and /.well-known through."}))
		return true, false
	case x.status >= 300 && x.status < 400:
		e.add(x.step(Step{Name: name, Verdict: Failure, Summary: "The server sends clients elsewhere, with a redirect.",
			Spec: "Clients need not follow redirects of a POST, and must not take their tokens to another host.",
			Fix:  "Give clients the address that Location names, if it is yours. A missing or a superfluous slash at the end is a usual cause."}))
		return true, false
	case x.status == http.StatusTooManyRequests || x.status >= 500:
		e.add(x.step(Step{Name: name, Verdict: Failure, Summary: fmt.Sprintf("The server is in trouble: status %d.", x.status),
			Fix: "Look into its log. Retry-After, if it is there, says when to try again."}))
		return true, false
	}
	return false, true
}

func (e *examination) discover(ctx context.Context) (more bool) {
	x := e.http.do(ctx, http.MethodPost, e.url.String(), e.header("MCP-Protocol-Version", versionModern, "Mcp-Method", "server/discover"),
		`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+modernMeta+`}}`, `"id":1`)
	e.checkClock(x)
	if done, more := e.refused("discover", x); done {
		return more
	}
	m := x.message()
	var found struct {
		SupportedVersions []string        `json:"supportedVersions"`
		Capabilities      json.RawMessage `json:"capabilities"`
		TTL               *int64          `json:"ttlMs"`
		ResultType        string          `json:"resultType"`
	}
	switch {
	case m != nil && m.Result != nil && json.Unmarshal(m.Result, &found) == nil && len(found.SupportedVersions) > 0:
		e.modern = slices.Contains(found.SupportedVersions, versionModern)
		e.report.Eras = mergeVersions(e.report.Eras, found.SupportedVersions)
		s := Step{Name: "discover", Verdict: OK, Summary: "It speaks " + cleanList(found.SupportedVersions) + "."}
		if found.ResultType == "" || found.TTL == nil {
			s.Verdict = Warning
			s.Summary += " Its answer lacks " + lacks(found.ResultType == "", "resultType", found.TTL == nil, "ttlMs") + "."
			s.Spec = "2026-07-28: every result has a resultType, and server/discover ttlMs and cacheScope."
			s.Fix = "Update the SDK the server is built with."
		}
		e.add(x.step(s))
	case m != nil && m.Error != nil && m.Error.Code == -32022:
		var data struct {
			Supported []string `json:"supported"`
		}
		_ = json.Unmarshal(m.Error.Data, &data)
		e.report.Eras = mergeVersions(e.report.Eras, data.Supported)
		e.add(x.step(Step{Name: "discover", Verdict: OK, Summary: "It is of the newer era, of versions " + cleanList(data.Supported) + ", and not of " + versionModern + "."}))
	case x.status == http.StatusNotFound && m == nil:
		e.add(x.step(Step{Name: "discover", Verdict: OK, Summary: "Nothing is here, says a plain 404; perhaps it answers the older handshake."}))
	case m == nil && x.status == http.StatusOK:
		e.add(x.step(Step{Name: "discover", Verdict: Warning, Summary: "The answer is no JSON-RPC message: this may be a web page and not an MCP server.",
			Spec: "Transports: the answer to a request is application/json with one message, or text/event-stream.",
			Fix:  "Check the path; most servers are at /mcp."}))
	default:
		e.add(x.step(Step{Name: "discover", Verdict: OK, Summary: "It does not speak " + versionModern + "."}))
	}
	return true
}

func lacks(a bool, nameA string, b bool, nameB string) string {
	var names []string
	if a {
		names = append(names, nameA)
	}
	if b {
		names = append(names, nameB)
	}
	return strings.Join(names, " and ")
}

func mergeVersions(a, b []string) []string {
	for _, v := range b {
		if v = clean(v); len(v) <= 20 && len(a) < 20 && !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

func cleanList(all []string) string {
	if len(all) > 20 {
		all = all[:20]
	}
	out := make([]string, len(all))
	for i, s := range all {
		if out[i] = clean(s); len(out[i]) > 20 {
			out[i] = out[i][:20] + "…"
		}
	}
	if len(out) == 0 {
		return "(none named)"
	}
	return strings.Join(out, ", ")
}

func (e *examination) initialize(ctx context.Context) (more bool) {
	x := e.http.do(ctx, http.MethodPost, e.url.String(), e.header(),
		`{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"`+versionLegacy+`","capabilities":{},"clientInfo":{"name":"causeway-doctor","version":"1"}}}`, `"id":2`)
	if done, more := e.refused("initialize", x); done {
		return more
	}
	m := x.message()
	var found struct {
		ProtocolVersion string `json:"protocolVersion"`
		ServerInfo      struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"serverInfo"`
	}
	switch {
	case m != nil && m.Result != nil && json.Unmarshal(m.Result, &found) == nil && found.ProtocolVersion != "":
		e.legacy = true
		e.session = x.header.Get("Mcp-Session-Id")
		e.report.Eras = mergeVersions(e.report.Eras, []string{found.ProtocolVersion})
		s := Step{Name: "initialize", Verdict: OK, Summary: fmt.Sprintf("%s %s speaks %s, with%s a session.", cleanShort(found.ServerInfo.Name), cleanShort(found.ServerInfo.Version),
			cleanShort(found.ProtocolVersion), map[bool]string{true: "out"}[e.session == ""])}
		if !visible(e.session) {
			s.Verdict, s.Summary = Failure, "The session id has characters in it that no header may have."
			s.Spec = "2025-03-26, session management: visible ASCII (0x21 to 0x7E) only."
			s.Fix = "Make ids of letters and digits."
		}
		e.add(x.step(s))
		e.confirm(ctx, found.ProtocolVersion)
	case e.modern:
		e.add(x.step(Step{Name: "initialize", Verdict: OK, Summary: "It does not speak the versions before " + versionModern + "; clients of those cannot use it."}))
	case x.status == http.StatusNotFound || x.status == http.StatusMethodNotAllowed || x.status == http.StatusBadRequest && m == nil:
		e.add(x.step(Step{Name: "initialize", Verdict: Warning, Summary: fmt.Sprintf("There is no Streamable HTTP here: status %d.", x.status),
			Spec: "2025-03-26: one endpoint takes POST.", Fix: "Check the path; most servers are at /mcp."}))
	case m != nil && m.Error != nil:
		e.add(x.step(Step{Name: "initialize", Verdict: Warning, Summary: fmt.Sprintf("It refuses initialize with error %d.", m.Error.Code),
			Fix: "See what it says above."}))
	default:
		e.add(x.step(Step{Name: "initialize", Verdict: Warning, Summary: "The answer is no JSON-RPC message: this may be a web page and not an MCP server.",
			Fix: "Check the path; most servers are at /mcp."}))
	}
	return true
}

func cleanShort(s string) string {
	s = strings.ReplaceAll(clean(s), "\n", " ")
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
}

func visible(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e })
}

func (e *examination) sessionHeader(version string) http.Header {
	h := e.header("MCP-Protocol-Version", version)
	if e.session != "" {
		h.Set("Mcp-Session-Id", e.session)
	}
	return h
}

// confirm ends the handshake, and looks for the stream of the session.
func (e *examination) confirm(ctx context.Context, version string) {
	x := e.http.do(ctx, http.MethodPost, e.url.String(), e.sessionHeader(version), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "")
	if x.err == nil && x.status/100 == 2 {
		s := Step{Name: "initialized", Verdict: OK, Summary: fmt.Sprintf("It takes notifications: status %d.", x.status)}
		if x.status != http.StatusAccepted {
			s.Verdict, s.Spec, s.Fix = Warning, "2025-03-26: a POST of nothing but notifications is answered with 202 and no body.", "Answer 202."
		}
		e.add(x.step(s))
	} else {
		e.add(x.step(Step{Name: "initialized", Verdict: Failure, Summary: "It does not take notifications/initialized, with which clients end the handshake.",
			Spec: "Lifecycle: the client sends it after initialize; it is answered with 202.",
			Fix:  "If there are several processes behind a load balancer, they must share sessions, or requests of one session must reach the same one."}))
		return
	}
	h := e.sessionHeader(version)
	h.Set("Accept", "text/event-stream")
	h.Del("Content-Type")
	x = e.http.do(ctx, http.MethodGet, e.url.String(), h, "", headersOnly)
	switch {
	case x.status == http.StatusOK && strings.HasPrefix(x.header.Get("Content-Type"), "text/event-stream"):
		e.add(x.step(Step{Name: "stream", Verdict: OK, Summary: "It keeps a stream open for what it has to say between requests."}))
	case x.status == http.StatusMethodNotAllowed:
		e.add(x.step(Step{Name: "stream", Verdict: OK, Summary: "It has no stream for messages between requests, which it may do without."}))
	case x.err != nil && x.status == 0:
		e.add(x.step(Step{Name: "stream", Verdict: Warning, Summary: "The stream for messages between requests says nothing, not even its headers.",
			Spec: "2025-03-26: a GET is answered with text/event-stream at once, or with 405.",
			Fix:  "A proxy in front may hold answers back until they are complete: turn its buffering off (X-Accel-Buffering: no, proxy_buffering off)."}))
	default:
		e.add(x.step(Step{Name: "stream", Verdict: Warning, Summary: fmt.Sprintf("GET is answered with %d.", x.status),
			Spec: "2025-03-26: a GET is answered with text/event-stream, or with 405.", Fix: "Answer 405 if there is no stream."}))
	}
}

// sse looks for the transport of 2024-11-05.
func (e *examination) sse(ctx context.Context) {
	h := e.header()
	h.Set("Accept", "text/event-stream")
	h.Del("Content-Type")
	x := e.http.do(ctx, http.MethodGet, e.url.String(), h, "", "")
	if x.status == http.StatusOK && strings.HasPrefix(x.header.Get("Content-Type"), "text/event-stream") && len(x.body) > 0 {
		e.report.Eras, e.report.Works = mergeVersions(e.report.Eras, []string{"2024-11-05"}), true
		e.add(x.step(Step{Name: "sse", Verdict: Warning, Summary: "It speaks the HTTP+SSE transport of 2024-11-05 only, which newer clients leave out.",
			Spec: "HTTP+SSE is deprecated since 2025-03-26.", Fix: "Update the server. Until then tell clients the transport: sse."}))
		return
	}
	e.add(x.step(Step{Name: "sse", Verdict: Failure, Summary: "No MCP server was found here, of any era.",
		Spec: "A server answers server/discover (2026-07-28), initialize (2025-03-26 on) or GET with an event stream (2024-11-05).",
		Fix:  e.rightPath(ctx)}))
}

// rightPath says where the server is that was not found at the URL.
func (e *examination) rightPath(ctx context.Context) string {
	if call.SpeaksTLS(ctx, e.url.String()) {
		return "What answers there speaks TLS: begin the URL with https://."
	}
	path := strings.TrimRight(e.url.Path, "/")
	shown := e.url.EscapedPath()
	if path == "" {
		shown = "/"
	}
	places := []string{path + "/mcp", "/mcp"}
	if path == "" {
		places = places[:1]
	}
	for _, place := range places {
		if strings.HasSuffix(path, "/mcp") {
			break
		}
		at := (&url.URL{Scheme: e.url.Scheme, Host: e.url.Host, Path: place}).String()
		x := e.http.do(ctx, http.MethodPost, at, e.header("MCP-Protocol-Version", versionModern, "Mcp-Method", "server/discover"),
			`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+modernMeta+`}}`, `"id":1`)
		if x.err == nil && (x.message() != nil || x.status == http.StatusUnauthorized && x.header.Get("Www-Authenticate") != "") {
			return "Give clients " + at + ": an MCP server answers there."
		}
	}
	return "Check the path: " + shown + " may not be the one. Most are at /mcp, old ones at /sse."
}

func (e *examination) checkTools(ctx context.Context) {
	h, body := e.sessionHeader(e.legacyVersion()), `{"jsonrpc":"2.0","id":3,"method":"tools/list"}`
	if e.modern {
		h = e.header("MCP-Protocol-Version", versionModern, "Mcp-Method", "tools/list")
		body = `{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{` + modernMeta + `}}`
	}
	x := e.http.do(ctx, http.MethodPost, e.url.String(), h, body, `"id":3`)
	if done, _ := e.refused("tools", x); done {
		return
	}
	m := x.message()
	var list struct {
		Tools []struct {
			Name        string          `json:"name"`
			InputSchema json.RawMessage `json:"inputSchema"`
		} `json:"tools"`
	}
	switch {
	case m != nil && m.Error != nil && m.Error.Code == -32601:
		e.add(x.step(Step{Name: "tools", Verdict: OK, Summary: "It has no tools."}))
	case m == nil || m.Result == nil || json.Unmarshal(m.Result, &list) != nil:
		e.add(x.step(Step{Name: "tools", Verdict: Failure, Summary: "It does not list its tools.",
			Spec: "tools/list is answered with {tools: […]}.", Fix: "See what it says above, and the server's log."}))
	default:
		s := Step{Name: "tools", Verdict: OK, Summary: fmt.Sprintf("It lists %d tools.", len(list.Tools))}
		for _, t := range list.Tools {
			if t.Name == "" || !strings.HasPrefix(strings.TrimSpace(string(t.InputSchema)), "{") {
				s.Verdict, s.Spec, s.Fix = Failure, "A tool has a name and an inputSchema of type object.", "Clients refuse the whole list for one tool without: look at "+strconv.Quote(cleanShort(t.Name))+"."
			}
		}
		e.add(x.step(s))
	}
}

func (e *examination) legacyVersion() string {
	for _, v := range e.report.Eras {
		if v < versionModern {
			return v
		}
	}
	return versionLegacy
}

// checkOrigin looks whether any page on the web may use the server.
func (e *examination) checkOrigin(ctx context.Context) {
	h := e.header("Origin", "https://causeway-doctor.invalid")
	x := e.http.do(ctx, http.MethodPost, e.url.String(), h, `{"jsonrpc":"2.0","id":4,"method":"ping"}`, `"id":4`)
	local := !isPublicHost(e.url.Hostname())
	switch {
	case x.err != nil:
	case x.status == http.StatusForbidden:
		e.add(x.step(Step{Name: "origin", Verdict: OK, Summary: "Pages of other sites may not call it."}))
	case x.status == http.StatusUnauthorized:
		e.add(x.step(Step{Name: "origin", Verdict: OK, Summary: "Pages of other sites get no further than the sign-in."}))
	default:
		s := Step{Name: "origin", Verdict: Warning, Summary: "It answers pages of any web site.",
			Spec: "Transports, security: servers must check the Origin header, and answer 403 where it is foreign.",
			Fix:  "Allow the origins you mean, and no others."}
		if local {
			s.Summary += " On a machine of one's own that lets any site one visits use its tools (DNS rebinding)."
		}
		e.add(x.step(s))
	}
}

// endSession leaves nothing behind.
func (e *examination) endSession(ctx context.Context) {
	if e.session == "" {
		return
	}
	x := e.http.do(ctx, http.MethodDelete, e.url.String(), e.sessionHeader(e.legacyVersion()), "", "")
	switch {
	case x.err == nil && x.status/100 == 2:
		e.add(x.step(Step{Name: "delete", Verdict: OK, Summary: "The session could be ended."}))
	case x.status == http.StatusMethodNotAllowed:
		e.add(x.step(Step{Name: "delete", Verdict: OK, Summary: "Clients cannot end sessions here; the server does it by itself."}))
	default:
		e.add(x.step(Step{Name: "delete", Verdict: Warning, Summary: "The session could not be ended.",
			Spec: "2025-03-26: DELETE ends a session, or is answered with 405.", Fix: "Answer 405 if clients may not end sessions."}))
	}
}

// maxSkew is how far clocks may be apart before tokens are found too old or too new.
const maxSkew = time.Minute

func (e *examination) checkClock(x *exchange) {
	date, err := http.ParseTime(x.header.Get("Date"))
	if err != nil {
		return
	}
	if skew := time.Since(date); skew > maxSkew || skew < -maxSkew {
		e.add(Step{Name: "clock", Verdict: Warning, Summary: fmt.Sprintf("The clocks of the two machines are %v apart.", skew.Abs().Round(time.Second)),
			Fix: "Set both (NTP): tokens and certificates seem to have ended, or not to have begun."})
	}
}
