package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/bridge/expose"
	"github.com/causeway-mcp/causeway/internal/awake"
	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/causeway-mcp/causeway/oauth/login/github"
	"github.com/causeway-mcp/causeway/oauth/login/oidc"
	"golang.org/x/oauth2"
)

const exposeUsage = `Usage: causeway expose [flags] -- COMMAND [ARGUMENTS]

Serves a program that speaks MCP over stdio to signed-in people at /mcp, in every
protocol era. The command is run as it stands, without a shell. Its arguments and the
values of -env may be templates:

  {{.Dir}}                 a directory of the person's own, in which the program starts
  {{.User}}                the id of the person
  {{.Session}}             the id of the session, with -scope session
  {{.Props.access_token}}  what sign-in said: access_token, name, email, login (GitHub), sub (OIDC)
  {{env "NAME"}}           a variable of this process's environment

For instance:

  causeway expose -sign-in dev -env 'MEMORY_FILE_PATH={{.Dir}}/memory.json' -- mcp-server-memory

Each person has a HOME of their own, where npx would install its package once more for
each: install it once, and name its program.

Flags:
`

// exposeSettings are the flags of causeway expose.
type exposeSettings struct {
	options      expose.Options
	scope, era   string
	signIn       string
	issuer       string
	clientID     string
	clientSecret string
	oidcIssuer   string
	scopes       string
	allowed      string
	passEnv      string
	memory       int64
	name         string
	verbose      bool
}

func runExpose(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := &exposeSettings{}
	flags := flag.NewFlagSet("causeway expose", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.define(flags)
	cut := slices.Index(args, "--")
	if cut < 0 {
		cut = len(args)
	} else {
		s.options.Command = args[cut+1:]
	}
	var programs *expose.Server
	keeper := awake.Start()
	defer keeper.Stop()
	s.options.Working = keeper.Working
	app := &causeway.App{Flags: flags}
	app.Prepare = func() error {
		var err error
		programs, err = s.prepare(app, stderr)
		return err
	}
	app.Ready = func(base string) {
		exposed.Execute(stdout, map[string]any{"Base": base, "SignIn": s.signIn, "Public": s.issuer, "Scope": s.scope})
	}
	if slices.ContainsFunc(args[:cut], func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		fmt.Fprint(stderr, exposeUsage)
	}
	err := app.Run(ctx, args[:cut])
	if programs == nil {
		return err
	}
	stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, programs.Close(stopping))
}

var exposed = template.Must(template.New("exposed").Parse(`{{$url := .Base}}{{with .Public}}{{$url = .}}{{end -}}
Exposed at {{$url}}/mcp, and for clients of 2024 at {{$url}}/sse
{{if eq .SignIn "none"}}Nobody signs in: whoever reaches it shares one program.
{{else if eq .SignIn "dev"}}Sign-in believes any name, and works on this machine only.
{{else}}Sign-in: {{.SignIn}}. People manage what they granted at {{$url}}/account
{{end}}Ctrl-C ends it, and the programs with it.
`))

func (s *exposeSettings) define(f *flag.FlagSet) {
	o := &s.options
	f.StringVar(&s.scope, "scope", "user", "who shares a program: `user` (one for each person), session or shared")
	f.StringVar(&s.era, "era", "auto", "how to speak with the program: `auto`, legacy (initialize) or modern (2026-07-28)")
	f.Func("env", "`NAME=VALUE` for the program; the value may be a template; may be repeated", func(v string) error {
		o.Env = append(o.Env, v)
		return nil
	})
	f.StringVar(&s.passEnv, "pass-env", "", "`names` of variables, separated by commas, that the program gets from this process")
	f.StringVar(&s.signIn, "sign-in", "none", "`how` people sign in: none, dev (any name, this machine only), github, google or oidc")
	f.StringVar(&s.issuer, "issuer", "", "`URL` under which people reach this server; needed for sign-in on an address that is not this machine's own")
	f.StringVar(&s.clientID, "client-id", "", "`id` that GitHub or the issuer gave; its redirect URI is the issuer's with /callback")
	f.StringVar(&s.clientSecret, "client-secret", "", "`secret` that came with it; better in the environment, as CAUSEWAY_CLIENT_SECRET")
	f.StringVar(&s.oidcIssuer, "oidc-issuer", "", "`URL` of the issuer, for -sign-in oidc")
	f.StringVar(&s.scopes, "scopes", "", "`scopes`, separated by spaces, to ask GitHub or the issuer for, for {{.Props.access_token}}")
	f.StringVar(&s.allowed, "allow-user", "", "`people` who may sign in, separated by commas: GitHub logins, verified email addresses, or * for everyone")
	f.StringVar(&s.name, "name", "", "`name` that the pages call this server")
	f.BoolVar(&o.Roots, "roots", false, "tell the program the folders of the client; file servers take them for folders on this machine")
	f.IntVar(&o.MaxChildren, "max-programs", 100, "`programs` that may run at a time")
	f.IntVar(&o.MaxChildrenPerUser, "max-programs-per-user", 10, "`programs` of one person, with -scope session")
	f.Int64Var(&s.memory, "max-memory", 1024, "`MiB` of resident memory of one program with all it starts (Linux)")
	f.IntVar(&o.MaxProcesses, "max-processes", 64, "`processes` of one program (Linux)")
	f.IntVar(&o.MaxMessage, "max-message", 16<<20, "`bytes` of one message of the program")
	f.DurationVar(&o.StartTimeout, "start-timeout", time.Minute, "how long a program may take to answer first")
	f.DurationVar(&o.IdleAfter, "idle", 10*time.Minute, "after how long without a call a program is put to sleep; negative is never")
	f.BoolVar(&s.verbose, "verbose", false, "log what programs start, say and end with")
}

// prepare makes what the flags ask for.
func (s *exposeSettings) prepare(app *causeway.App, stderr io.Writer) (*expose.Server, error) {
	o := &s.options
	if len(o.Command) == 0 {
		return nil, errors.New("no program: give it after --, as in: causeway expose -sign-in dev -- mcp-server-memory")
	}
	var ok bool
	if o.Scope, ok = map[string]expose.Scope{"user": expose.PerUser, "session": expose.PerSession, "shared": expose.Shared}[s.scope]; !ok {
		return nil, fmt.Errorf("-scope %q: want user, session or shared", s.scope)
	}
	if o.Era, ok = map[string]expose.Era{"auto": expose.EraAuto, "legacy": expose.EraLegacy, "modern": expose.EraModern}[s.era]; !ok {
		return nil, fmt.Errorf("-era %q: want auto, legacy or modern", s.era)
	}
	if s.memory < 1 || o.MaxChildren < 1 || o.MaxChildrenPerUser < 1 || o.MaxProcesses < 1 || o.MaxMessage < 1 || o.StartTimeout <= 0 {
		return nil, errors.New("limits must be above zero")
	}
	o.MaxMemory = s.memory << 20
	for name := range strings.SplitSeq(s.passEnv, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.PassEnv = append(o.PassEnv, name)
		}
	}
	provider, err := s.provider()
	if err != nil {
		return nil, err
	}
	app.SignIn = provider
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	app.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	o.Logger = app.Logger
	o.Props = func(ctx context.Context) any { return oauth.Props[map[string]any](ctx) }
	if app.Data != "" {
		o.Dir = filepath.Join(app.Data, "people")
	}
	if self, err := os.Executable(); err == nil {
		o.Guard = []string{self, "expose-guard"}
	}
	programs, err := expose.New(*o)
	if err != nil {
		return nil, err
	}
	app.Mount("/mcp", causeway.MountHandler{Server: programs.Server, SSEPath: "/sse"})
	return programs, nil
}

// provider is the sign-in that the flags ask for, nil for none.
func (s *exposeSettings) provider() (*oauth.Provider, error) {
	p := &oauth.Provider{Issuer: strings.TrimSuffix(s.issuer, "/"), Name: s.name}
	scopes := strings.Fields(s.scopes)
	switch s.signIn {
	case "none":
		return nil, nil
	case "dev":
		p.Login = login.Dev()
		return p, nil
	case "github", "google", "oidc":
	default:
		return nil, fmt.Errorf("-sign-in %q: want none, dev, github, google or oidc", s.signIn)
	}
	if s.clientID == "" {
		return nil, fmt.Errorf("-sign-in %s needs -client-id, and its secret in the environment as CAUSEWAY_CLIENT_SECRET", s.signIn)
	}
	allowed, err := allowList(s.allowed)
	if err != nil {
		return nil, err
	}
	if s.signIn == "github" {
		p.Login = github.LoginWith(s.clientID, s.clientSecret, func(_ context.Context, u *github.User, t *oauth2.Token) (*oauth.Person, error) {
			if !allowed(u.Login) {
				return nil, oauth.ErrNotAllowed
			}
			return &oauth.Person{Name: u.Login, Props: map[string]any{"login": u.Login, "name": u.Name, "email": u.Email, "access_token": t.AccessToken}}, nil
		}, &github.Options{Scopes: scopes})
		return p, nil
	}
	issuer := s.oidcIssuer
	if s.signIn == "google" {
		issuer = oidc.Google
	}
	if issuer == "" {
		return nil, errors.New("-sign-in oidc needs -oidc-issuer")
	}
	if len(scopes) == 0 {
		scopes = nil
	}
	p.Login = &oidc.Login{Issuer: issuer, ClientID: s.clientID, ClientSecret: s.clientSecret, Scopes: scopes,
		Person: func(_ context.Context, a *oidc.Answer) (*oauth.Person, error) {
			var c oidc.Claims
			if err := a.IDToken.Claims(&c); err != nil {
				return nil, fmt.Errorf("reading the claims: %w", err)
			}
			// An address that nobody has verified may be anybody's.
			if !allowed("") && (!c.EmailVerified || !allowed(c.Email)) {
				return nil, oauth.ErrNotAllowed
			}
			name := c.Name
			if name == "" {
				name = c.Email
			}
			return &oauth.Person{Name: name, Props: map[string]any{"sub": c.Subject, "name": c.Name, "email": c.Email, "access_token": a.Token.AccessToken}}, nil
		}}
	return p, nil
}

// allowList reads who may sign in. Everyone has an account at GitHub: a program on
// this machine is not for everyone unless someone says so.
func allowList(list string) (func(string) bool, error) {
	if strings.TrimSpace(list) == "*" {
		return func(string) bool { return true }, nil
	}
	people := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name == "*" {
			return nil, errors.New("-allow-user: * stands alone")
		} else if name != "" {
			people[name] = true
		}
	}
	if len(people) == 0 {
		return nil, errors.New("-allow-user is missing: say who may sign in, or * for everyone who has an account there")
	}
	return func(name string) bool { return people[strings.ToLower(name)] }, nil
}

// runExposeGuard ends exposed programs when the process that runs them is killed. It
// is started by causeway expose.
func runExposeGuard() error {
	expose.Guard(os.Stdin)
	return nil
}
