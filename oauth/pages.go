package oauth

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// pages are what people see. They have no script, and load nothing from elsewhere.
type pages struct {
	templates *template.Template
	policy    string
}

// An ErrorPage is what the template error.html shows.
type ErrorPage struct{ Server, Text string }

// A SignedOutPage is what the template signedout.html shows. Action is where to sign in
// again.
type SignedOutPage struct{ Server, Action string }

// samples are data of each page, to find mistakes in templates when the program starts.
var samples = map[string]any{
	"consent":   ConsentPage{Scopes: []string{"x"}, ClientID: "x", Person: "x", Loopback: true, Remember: true},
	"account":   AccountPage{Grants: []AccountGrant{{Scopes: []string{"x"}, ClientID: "x"}}, Holdings: []AccountHolding{{}}},
	"question":  QuestionPage{Question: Question{Text: "x", Fields: []Field{{}}}, Problem: "x"},
	"error":     ErrorPage{},
	"signedout": SignedOutPage{},
}

func newPages(style string, replaced fs.FS) (*pages, error) {
	base, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		return nil, fmt.Errorf("oauth: reading the style: %w", err)
	}
	if strings.Contains(strings.ToLower(style), "</style") {
		return nil, errors.New("oauth: Style must be CSS alone")
	}
	css := string(base) + style
	t := template.New("").Funcs(template.FuncMap{"style": func() template.HTML {
		return template.HTML("<style>" + css + "</style>")
	}})
	if t, err = t.ParseFS(pageFiles, "page/*.html"); err != nil {
		return nil, fmt.Errorf("oauth: reading the pages: %w", err)
	}
	if err := replace(t, replaced); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(css))
	p := &pages{templates: t, policy: "default-src 'none'; img-src 'self' data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; frame-ancestors 'none'"}
	for name, data := range samples {
		if err := t.ExecuteTemplate(io.Discard, name+".html", data); err != nil {
			return nil, fmt.Errorf("oauth: the page %s.html: %w", name, err)
		}
	}
	return p, nil
}

// replace puts the author's templates in the place of those of the same name.
func replace(t *template.Template, files fs.FS) error {
	if files == nil {
		return nil
	}
	names, err := fs.Glob(files, "*.html")
	if err != nil {
		return fmt.Errorf("oauth: reading Templates: %w", err)
	}
	if len(names) == 0 {
		return errors.New("oauth: Templates has no file *.html")
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("oauth: reading Templates: %w", err)
		}
		if _, err := t.New(name).Parse(string(text)); err != nil {
			return fmt.Errorf("oauth: reading Templates: %w", err)
		}
	}
	return nil
}

// setHeaders keeps a page out of frames, caches and referrers. There is no form-action:
// browsers apply it to the redirects that follow the form too, and those lead to the
// login and to the client. There is no Cross-Origin-Opener-Policy: it would cut a
// client's pop-up off from the page that waits for it.
func (p *pages) setHeaders(h http.Header) {
	noStore(h)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

func (p *pages) show(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name+".html", data); err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
	return nil
}

// A pageErr is told to the person, because no client can be told.
type pageErr struct {
	status int
	text   string
}

func (e *pageErr) Error() string { return e.text }

func pageError(status int, text string) error { return &pageErr{status: status, text: text} }

// ownPage serves what a browser shows. A POST must come from a page of this server: that
// it brings something bound to the browser is the first line, this is the second.
func (s *Server) ownPage(serve func(http.ResponseWriter, *http.Request) error, methods ...string) http.HandlerFunc {
	sameOrigin := http.NewCrossOriginProtection()
	if err := sameOrigin.AddTrustedOrigin(s.origin); err != nil { // Host may be a proxy's
		panic("oauth: the origin of a checked issuer: " + err.Error())
	}
	return s.page(func(w http.ResponseWriter, r *http.Request) error {
		if sameOrigin.Check(r) != nil {
			s.log.WarnContext(r.Context(), "oauth: a form of another site was refused", "path", r.URL.Path)
			return pageError(http.StatusForbidden, "This answer came from another site.")
		}
		return serve(w, r)
	}, methods...)
}

// page is ownPage that other sites may post to.
func (s *Server) page(serve func(http.ResponseWriter, *http.Request) error, methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.pages.setHeaders(w.Header())
		err := func() error {
			switch {
			case !slices.Contains(methods, r.Method) && !(r.Method == http.MethodHead && slices.Contains(methods, http.MethodGet)):
				w.Header().Set("Allow", strings.Join(methods, ", "))
				return pageError(http.StatusMethodNotAllowed, "This page cannot be asked in that way.")
			case !s.limits.pages.allow(s.addr(r)):
				w.Header().Set("Retry-After", "5")
				s.log.WarnContext(r.Context(), "oauth: too many requests from one address", "path", r.URL.Path, "address", s.addr(r))
				return pageError(http.StatusTooManyRequests, "Too many requests came from your address. Try again in a moment.")
			}
			return serve(w, s.withAsker(r))
		}()
		if err != nil {
			s.failPage(w, r, err)
		}
	}
}

// failPage puts an error where it belongs: at the client if its redirect URI is known to
// be its own, else on a page.
func (s *Server) failPage(w http.ResponseWriter, r *http.Request, err error) {
	var toClient *redirectError
	var toPerson *pageErr
	switch {
	case errors.As(err, &toClient):
		s.redirectError(w, r, toClient)
		return
	case errors.As(err, &toPerson):
	case errors.Is(err, errLost):
		s.log.WarnContext(r.Context(), "oauth: a sign-in was answered that is not under way in this browser", "path", r.URL.Path)
		toPerson = &pageErr{http.StatusBadRequest, "This sign-in is over, was answered before, or began in another browser. Start it again from the program you came from."}
	case errors.Is(err, ErrUnavailable):
		s.log.ErrorContext(r.Context(), "oauth: request failed", "path", r.URL.Path, "err", err)
		w.Header().Set("Retry-After", "5")
		toPerson = &pageErr{http.StatusServiceUnavailable, "The server cannot answer just now. Try again in a moment."}
	default:
		s.log.ErrorContext(r.Context(), "oauth: request failed", "path", r.URL.Path, "err", err)
		toPerson = &pageErr{http.StatusInternalServerError, "Something went wrong here. It has been noted."}
	}
	if err := s.pages.show(w, toPerson.status, "error", ErrorPage{s.provider.Name, toPerson.text}); err != nil {
		http.Error(w, toPerson.text, toPerson.status)
	}
}
