package oauth

import (
	"errors"
	"log/slog"
	"net/http"

	"golang.org/x/oauth2"
)

// A Login says who a person is. Implementations are in oauth/login and its packages,
// and are safe for concurrent use.
type Login interface {
	// Start sends the browser to where the person signs in: a redirect, or a page of
	// its own. Whatever happens there, the browser must come back to a.Callback, by GET
	// or POST, with the parameter "state" set to a.State. An error ends the sign-in.
	Start(w http.ResponseWriter, r *http.Request, a *Attempt) error

	// Finish says who came back. It is called at most once for an attempt, in the
	// browser that the attempt began in. Errors: [ErrDenied] if the person refused,
	// [ErrNotAllowed] if this person may not sign in here, a [Retry] to ask again. Any
	// other error is told to the log, and the person learns that it failed.
	Finish(r *http.Request, a *Attempt) (*Person, error)
}

// A Checker is a [Login] that can say what it lacks when the program starts, instead of to
// the first person who wants to sign in.
type Checker interface {
	Check() error
}

// An Attempt is one sign-in that is under way.
type Attempt struct {
	// Issuer is the URL of the provider.
	Issuer string
	// Callback is the URL that the browser must come back to.
	Callback string
	// State must come back in the parameter "state". It is random and good once.
	State string
	// Secret belongs to this attempt and is never shown to anyone: a PKCE verifier of 64
	// characters (RFC 7636), or what a nonce is made from.
	Secret string
	// Again is set when the client wants the person to sign in anew (the prompts "login" and
	// "select_account" of OpenID Connect Core §3.1.2.1): a login elsewhere should not go by who is
	// signed in there. It is a wish of the client's, who can leave it out, and protects nothing.
	Again bool
	// Problem is what the person should be told: the text of the last [Retry].
	Problem string

	server *Server
}

// String keeps the secret out of logs.
func (Attempt) String() string { return "[a sign-in under way]" }

// GoString keeps it out of %#v.
func (a Attempt) GoString() string { return a.String() }

// LogValue implements slog.LogValuer.
func (a Attempt) LogValue() slog.Value { return slog.StringValue(a.String()) }

// A Question is a page that asks for something, in the look of the other pages.
type Question struct {
	Title  string
	Text   string
	Fields []Field
	Submit string // what the button says; empty is "Sign in"
}

// A Field is one input of a Question.
type Field struct {
	Name  string // of the form value
	Label string
	Type  string // "text" (the zero value), "email" or "password"
	Value string
	// Autocomplete tells browsers and password managers what the field is: "username",
	// "current-password", "email" and so on (HTML, autofill). Empty is nothing.
	Autocomplete string
}

// A QuestionPage is what the template question.html shows. The form is posted to Action
// with State as "state" and the fields. Problem is why the person is asked again.
type QuestionPage struct {
	Question
	Server, Action, State, Problem string
}

// Ask shows a page that posts its fields to the callback. Finish finds them in
// r.PostFormValue.
func (a *Attempt) Ask(w http.ResponseWriter, q Question) error {
	for i := range q.Fields {
		if q.Fields[i].Type == "" {
			q.Fields[i].Type = "text"
		}
	}
	if q.Submit == "" {
		q.Submit = "Sign in"
	}
	return a.server.pages.show(w, http.StatusOK, "question", QuestionPage{
		Question: q, Server: a.server.provider.Name, Action: a.Callback, State: a.State, Problem: a.Problem,
	})
}

// A Person is who signed in.
type Person struct {
	// ID is who it is, for ever: the UserID that handlers see. It should name the source
	// ("github:123"), and never be something that changes hands, such as an email
	// address or a login name. At most 256 bytes.
	ID string
	// Name is what pages call the person. Empty is ID.
	Name string
	// Props is anything that encodes to JSON, at most 64 KiB of it. It is sealed at rest
	// and never sent to the MCP client; handlers get it from [Props].
	Props any
	// Upstream are the tokens that the login got for the login's own APIs, at most 16 KiB
	// of them. They are sealed in the grant and never sent to the MCP client; handlers get
	// the access token from [UpstreamToken], and a [Renewer] keeps it fresh. Nil keeps none.
	Upstream *oauth2.Token
}

// String keeps what is known of a person out of logs.
func (Person) String() string { return "[a person]" }

// GoString keeps it out of %#v.
func (p Person) GoString() string { return p.String() }

// LogValue implements slog.LogValuer.
func (p Person) LogValue() slog.Value { return slog.StringValue(p.String()) }

var (
	// ErrDenied: the person did not want to sign in.
	ErrDenied = errors.New("oauth: sign-in was refused by the person")
	// ErrNotAllowed: this person may not sign in here.
	ErrNotAllowed = errors.New("oauth: this person may not sign in here")
)

// Retry asks the person again, saying why: a wrong password, say.
type Retry string

// Error implements error.
func (r Retry) Error() string { return string(r) }
