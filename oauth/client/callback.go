package client

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// resultPatience is how long a browser waits for the exchange of its code.
const resultPatience = 40 * time.Second

// A callback waits on loopback for a browser to come back from an authorization server.
type callback struct {
	listener net.Listener
	server   *http.Server
	redirect *url.URL // as it was registered
	state    string
	success  string
	name     string // of the MCP server, for the page

	once   sync.Once
	answer chan url.Values // one, with the right state
	done   chan struct{}   // closed when result is there
	result error
}

var (
	errForeign = errors.New("not the callback of this sign-in")
	errTwice   = errors.New("this sign-in had its callback")
)

// randomPath is a path that nobody guesses.
func randomPath() string { return "/callback/" + rand.Text() }

// listen opens a callback at redirect. Port 0 takes a free one.
func listen(ctx context.Context, redirect *url.URL) (*callback, error) {
	port := redirect.Port()
	if port == "" {
		port = "80"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, fmt.Errorf("waiting for the browser on port %s: %w%s", port, err, portAdvice(err))
	}
	bound := *redirect
	bound.Host = net.JoinHostPort(redirect.Hostname(), strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	return &callback{
		listener: l, redirect: &bound, state: rand.Text() + rand.Text(),
		answer: make(chan url.Values, 1), done: make(chan struct{}),
	}, nil
}

// portAdvice says what to do about a port that cannot be listened on.
func portAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "; another program has it, or another sign-in: end that, or choose another port from 1024 to 65535, or none, for a free one"
	case errors.Is(err, fs.ErrPermission):
		return "; ports below 1024 are for privileged programs: choose one from 1024 to 65535, or none, for a free one"
	}
	return ""
}

// serve answers browsers until close.
func (cb *callback) serve() {
	cb.server = &http.Server{
		Handler: cb, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		MaxHeaderBytes: 32 << 10,
	}
	go cb.server.Serve(cb.listener) //nolint:errcheck // it ends with ErrServerClosed
}

// close tells the browser that waits, if there is one, how it ended, and stops listening.
func (cb *callback) close(result error) {
	cb.result = result
	close(cb.done)
	if cb.server == nil {
		cb.listener.Close()
		return
	}
	// The answer to the browser is on its way; it is not waited for long.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if cb.server.Shutdown(ctx) != nil {
		cb.server.Close()
	}
}

// take accepts the parameters of a callback. Those without the exact state are from somebody
// else: a page in the browser, another program. They change nothing.
func (cb *callback) take(query url.Values) error {
	if states := query["state"]; len(states) != 1 || subtle.ConstantTimeCompare([]byte(states[0]), []byte(cb.state)) != 1 {
		return errForeign
	}
	for _, name := range []string{"code", "error", "iss"} {
		if len(query[name]) > 1 {
			return errForeign
		}
	}
	if (query.Get("code") == "") == (query.Get("error") == "") {
		return errForeign // neither, or both
	}
	err := errTwice
	cb.once.Do(func() { cb.answer <- query; err = nil })
	return err
}

// ServeHTTP answers the browser: only GET, only at the redirect URI, only by its name, so that a
// name that was pointed here later does not count.
func (cb *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if r.Method != http.MethodGet || !cb.isHost(r.Host) || r.URL.EscapedPath() != cb.redirect.EscapedPath() || err != nil {
		http.Error(w, "There is nothing here.", http.StatusNotFound)
		return
	}
	if err := cb.take(query); err != nil {
		http.Error(w, "This is not an answer to a sign-in that is under way.", http.StatusBadRequest)
		return
	}
	select {
	case <-cb.done:
	case <-r.Context().Done():
		return
	case <-time.After(resultPatience):
	}
	cb.show(w, r)
}

// isHost compares the Host header with the names that the redirect URI can have.
func (cb *callback) isHost(host string) bool {
	port := cb.redirect.Port()
	return host == net.JoinHostPort("127.0.0.1", port) || host == net.JoinHostPort("localhost", port)
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color-scheme:light dark}</style>
<h1>{{.Title}}</h1><p>{{.Text}}</p><p>You can close this window.</p></html>
`))

func (cb *callback) show(w http.ResponseWriter, r *http.Request) {
	select {
	case <-cb.done:
	default:
		cb.write(w, http.StatusGatewayTimeout, "Still signing in", "The authorization server is slow. Look at the program that opened this page.")
		return
	}
	if cb.result != nil {
		cb.write(w, http.StatusBadRequest, "Not signed in", cb.result.Error())
		return
	}
	if cb.success != "" {
		http.Redirect(w, r, cb.success, http.StatusSeeOther)
		return
	}
	cb.write(w, http.StatusOK, "Signed in", "The program that opened this page can use "+cb.name+" now.")
}

func (cb *callback) write(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = page.Execute(w, map[string]string{"Title": title, "Text": clean(text, 600)})
}
