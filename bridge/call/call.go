// Package call uses an MCP server from a script: it connects in whichever era the
// server speaks, calls, reads and lists, and prints what comes back as text, as JSON,
// or as files.
package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Options say where and how to connect. All but URL may be left out.
type Options struct {
	// URL of the server.
	URL string
	// Transport makes the requests; one of oauth/client signs in. Nil is
	// http.DefaultTransport.
	Transport http.RoundTripper
	// Header goes with every request.
	Header http.Header
	// SSE uses the HTTP+SSE transport of 2024-11-05. Without it, that is tried when a POST
	// is answered with 400, 404 or 405, as the specification has it.
	SSE bool
	// Version is the protocol version to ask for. Empty is the newest, and what the server
	// makes of it.
	Version string
	// Progress and messages of the server are written here, a line each. Nil drops them.
	Progress io.Writer
	// LogLevel asks for the server's log messages from this level on. Empty is none.
	LogLevel string
	// Answer is what forms are answered with. Nil declines them. URLs are never opened.
	Answer map[string]any
}

// A Session is a connection to a server.
type Session struct {
	*mcp.ClientSession
	watch *watcher
}

// maxMessage bounds one message of the server, in bytes.
const maxMessage = 64 << 20

// Dial connects. Errors of signing in are found with errors.Is.
func Dial(ctx context.Context, o Options) (*Session, error) {
	server, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	w := &watcher{next: o.Transport, header: o.Header, server: server}
	if w.next == nil {
		w.next = http.DefaultTransport
	}
	hc := &http.Client{Transport: w}
	said := &notes{to: o.Progress}
	client := mcp.NewClient(&mcp.Implementation{Name: "causeway", Version: "1"}, o.clientOptions(said))
	dial := func(sse bool) (*mcp.ClientSession, error) {
		var t mcp.Transport = &mcp.StreamableClientTransport{Endpoint: o.URL, HTTPClient: hc, MaxEventSize: maxMessage, DisableStandaloneSSE: true}
		if sse {
			t = &mcp.SSEClientTransport{Endpoint: o.URL, HTTPClient: hc}
		}
		return client.Connect(ctx, t, &mcp.ClientSessionOptions{ProtocolVersion: o.Version})
	}
	cs, err := dial(o.SSE)
	if status := w.lastStatus(); err != nil && !o.SSE && w.failure() == nil &&
		(status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		if old, err2 := dial(true); err2 == nil {
			cs, err = old, nil
		}
	}
	s := &Session{cs, w}
	if err != nil {
		return nil, s.cause(err)
	}
	if o.LogLevel != "" && cs.InitializeResult().ProtocolVersion < "2026-07-28" {
		if err := cs.SetLoggingLevel(ctx, &mcp.SetLoggingLevelParams{Level: mcp.LoggingLevel(o.LogLevel)}); err != nil {
			_ = cs.Close()
			return nil, s.cause(fmt.Errorf("asking for log messages: %w", err))
		}
	}
	return s, nil
}

func (o *Options) clientOptions(said *notes) *mcp.ClientOptions {
	co := &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{Form: &mcp.FormElicitationCapabilities{}}},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			p := r.Params
			line := fmt.Sprintf("progress %g", p.Progress)
			if p.Total > 0 {
				line += fmt.Sprintf(" of %g", p.Total)
			}
			said.say(line + " " + p.Message)
		},
		LoggingMessageHandler: func(_ context.Context, r *mcp.LoggingMessageRequest) {
			text, ok := r.Params.Data.(string)
			if !ok {
				raw, _ := json.Marshal(r.Params.Data)
				text = string(raw)
			}
			said.say(fmt.Sprintf("%s: %s", r.Params.Level, text))
		},
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			if o.Answer == nil || r.Params.Mode == "url" {
				said.say("the server asks: " + r.Params.Message + " (declined; -answer answers)")
				return &mcp.ElicitResult{Action: "decline"}, nil
			}
			said.say("the server asks: " + r.Params.Message + " (answered)")
			return &mcp.ElicitResult{Action: "accept", Content: o.Answer}, nil
		},
	}
	return co
}

// cause is why something failed: the reason of the transport, where there is one, or the
// answer that was no message. The SDK turns it into an error of the server's, or loses it.
func (s *Session) cause(err error) error {
	if reason := s.watch.failure(); reason != nil {
		return fmt.Errorf("reaching the server: %w", reason)
	}
	if r, ok := Refused(err); ok && r.Code != codeRejected {
		return err
	}
	if answer := s.watch.foreign(err); answer != nil {
		return answer
	}
	return err
}

// codeRejected is what the SDK makes of a status that is no answer.
const codeRejected = -32005

// An AnswerError is an answer over HTTP that is none of MCP's: an error of whatever
// answers there, or a web page.
type AnswerError struct {
	// Status is the HTTP status.
	Status int
	// ContentType is the media type, without parameters; it may be empty.
	ContentType string
	err         error
}

func (e *AnswerError) Error() string {
	if e.Status == http.StatusOK {
		return "the server answers with " + cleanLine(e.ContentType)
	}
	return strings.TrimSpace(fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status)))
}

// Unwrap is what the SDK said.
func (e *AnswerError) Unwrap() error { return e.err }

// NoEndpoint reports whether the answer is what one gets where there is no MCP server: at
// the wrong path, say.
func (e *AnswerError) NoEndpoint() bool {
	switch e.Status {
	case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusGone, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return true
	}
	return e.Status/100 == 3
}

// Call calls a tool with raw arguments, which are an object or nothing.
func (s *Session) Call(ctx context.Context, tool string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	p := &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(`{}`)}
	if len(arguments) > 0 {
		p.Arguments = arguments
	}
	p.SetProgressToken("causeway")
	res, err := s.CallTool(ctx, p)
	if err != nil {
		return nil, s.cause(err)
	}
	return res, nil
}

// A Refusal is an error that the server answered with, as opposed to one on the way.
type Refusal struct {
	Code    int64
	Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the server refuses: %s (%d)", cleanLine(r.Message), r.Code)
}

// Refused finds the server's own error in err.
func Refused(err error) (*Refusal, bool) {
	var werr *jsonrpc.Error
	if errors.As(err, &werr) {
		return &Refusal{werr.Code, werr.Message}, true
	}
	return nil, false
}

// Arguments reads what the command line gives: an object, and no other JSON value. An
// error says where in the text something is wrong.
func Arguments(text string) (json.RawMessage, error) {
	text = strings.TrimPrefix(text, "\ufeff") // which editors of Windows put before it
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var o map[string]json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal([]byte(text), &o); {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("no JSON: %s: %w", position(text, syntax.Offset), err)
	case err != nil, o == nil:
		return nil, errors.New(`it must be one JSON object, such as {"a": 1}`)
	}
	return json.RawMessage(text), nil
}

// position is where the last of so many bytes of a text stands, for people.
func position(text string, bytes int64) string {
	before := text[:max(0, min(int(bytes), len(text))-1)]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return fmt.Sprintf("line %d, character %d", 1+strings.Count(before, "\n"), 1+utf8.RuneCountInString(line))
}

// notes writes lines from several goroutines.
type notes struct {
	mu sync.Mutex
	to io.Writer
}

func (n *notes) say(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.to != nil {
		fmt.Fprintln(n.to, cleanLine(strings.TrimSpace(line)))
	}
}

// A watcher remembers why the last request failed, which the SDK does not pass on.
type watcher struct {
	next   http.RoundTripper
	header http.Header
	server *url.URL

	mu     sync.Mutex
	err    error
	status int
	kind   string // the media type
}

// errElsewhere: the server must not have what it is sent carried to another, by a
// redirect or by the endpoint that HTTP+SSE lets it name.
var errElsewhere = errors.New("the server sends requests to another origin")

// RoundTrip implements http.RoundTripper.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != w.server.Scheme || !strings.EqualFold(r.URL.Host, w.server.Host) {
		if r.Body != nil {
			r.Body.Close()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = errElsewhere
		return nil, errElsewhere
	}
	if len(w.header) > 0 {
		r = r.Clone(r.Context())
		for name, values := range w.header {
			r.Header[name] = values
		}
	}
	resp, err := w.next.RoundTrip(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodPost {
		w.err = err
		if resp != nil {
			w.status = resp.StatusCode
			w.kind, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
		}
	}
	return resp, err
}

func (w *watcher) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watcher) lastStatus() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// foreign is the last answer, if it is none of MCP's.
func (w *watcher) foreign(err error) *AnswerError {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := strings.ToLower(strings.TrimSpace(w.kind))
	switch {
	case w.status >= 300:
	case w.status == http.StatusOK && kind != "" && kind != "application/json" && kind != "text/event-stream":
	default:
		return nil
	}
	return &AnswerError{w.status, kind, err}
}
