// Package doctor finds out why an MCP server does not work, or that it does: it goes
// through every step that a client takes, from the name in the URL to the list of
// tools, and says of each what was sent, what came back, what the specification says,
// and what to do about it. It works with any server.
//
// The server is not trusted. Answers are cut, cleaned and, where a field is known to
// hold a secret, redacted; a server on the internet cannot make it look at addresses
// of the network it runs in.
package doctor

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// A Verdict is how a step went.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, or may work, but not as it should
	Failure Verdict = "failure" // clients will not get past this
	Skipped Verdict = "skipped"
)

// A Step is one thing that was looked at.
type Step struct {
	// Name is the same for the same step, for programs: "tls", "discover".
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Sent and Got are the request and its answer, redacted; empty if there was none.
	Sent string `json:"sent,omitempty"`
	Got  string `json:"got,omitempty"`
	// Spec is what the specification says, and Fix what to do, where something is wrong.
	Spec string `json:"spec,omitempty"`
	Fix  string `json:"fix,omitempty"`
	// Took is how long it took, in milliseconds.
	Took int64 `json:"took_ms"`
}

// A Report is what was found.
type Report struct {
	URL   string `json:"url"` // without secrets
	Steps []Step `json:"steps"`
	// Works: a client can use the server, once it has signed in if it must.
	Works bool `json:"works"`
	// NeedsSignIn: it must.
	NeedsSignIn bool `json:"needs_sign_in"`
	// Eras are the protocol versions that were found to work, or that the server
	// names.
	Eras []string `json:"eras,omitempty"`
}

// Options say what to examine.
type Options struct {
	// URL of the server.
	URL string
	// Header goes with every request to the server itself, and to no other.
	Header http.Header
	// SignedIn makes requests as somebody: with the tokens that a client has, say. It is
	// used when the server wants a sign-in; nil stops there.
	SignedIn http.RoundTripper
	// Timeout bounds each request. Default 10 seconds.
	Timeout time.Duration
}

// Examine goes through all steps. It returns when there is nothing more to find out,
// or ctx ends.
func Examine(ctx context.Context, o Options) *Report {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	e := &examination{o: o, report: &Report{URL: redactURL(o.URL)}}
	e.run(ctx)
	r := e.report
	for _, s := range r.Steps {
		if s.Verdict == Failure {
			r.Works = false
		}
	}
	return r
}

// An examination is one run.
type examination struct {
	o      Options
	report *Report
	url    *url.URL
	http   *prober

	challenge string // WWW-Authenticate of the first 401
	session   string // of the session eras, to be ended
	modern    bool
	legacy    bool
}

func (e *examination) run(ctx context.Context) {
	if !e.checkURL() {
		return
	}
	if !e.checkNetwork(ctx) {
		return
	}
	e.http = newProber(e.url, e.o.Timeout)
	defer e.http.close()
	e.checkEras(ctx)
	if e.report.NeedsSignIn {
		e.checkSignIn(ctx)
		if e.o.SignedIn == nil {
			e.add(Step{Name: "as a person", Verdict: Skipped, Summary: "What is behind the sign-in was not looked at: nobody is signed in."})
			e.report.Works = e.signInWorks()
			return
		}
		e.http.signedIn = e.o.SignedIn
		e.report.NeedsSignIn, e.challenge = false, ""
		e.checkEras(ctx)
		if e.report.NeedsSignIn {
			e.add(Step{Name: "as a person", Verdict: Failure, Summary: "The server refuses the token that its own authorization server gave out.",
				Spec: "Authorization: a server must accept tokens that were issued for it, and only those (RFC 8707: the audience is the resource).",
				Fix:  "Compare the token's audience with the server's resource identifier, and the clocks of both machines."})
		}
		e.report.NeedsSignIn = true
	}
	if !e.modern && !e.legacy {
		return
	}
	e.report.Works = true
	e.checkTools(ctx)
	e.checkOrigin(ctx)
	e.endSession(ctx)
}

func (e *examination) add(s Step) { e.report.Steps = append(e.report.Steps, s) }

func (e *examination) signInWorks() bool {
	for _, s := range e.report.Steps {
		if s.Verdict == Failure {
			return false
		}
	}
	return true
}
