package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// person allows what is asked of them: they have a cookie jar and post forms.
type person struct{ browser *http.Client }

func newPerson() *person {
	jar, _ := cookiejar.New(nil) // fails only for options
	return &person{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// maxSteps is more pages than a sign-in has.
const maxSteps = 10

// allow opens an authorization request, answers its pages and goes where they lead.
func (p *person) allow(ctx context.Context, address string) error {
	at, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("the authorization request: %w", err)
	}
	server := at.Host
	answer, err := p.do(ctx, http.MethodGet, at, nil)
	for range maxSteps {
		if err != nil {
			return err
		}
		if answer.location != nil && answer.location.Host != server {
			return p.returns(ctx, answer.location)
		}
		answer, err = p.goOn(ctx, answer)
	}
	return fmt.Errorf("%s leads nowhere", address)
}

func (p *person) goOn(ctx context.Context, last *pageShown) (*pageShown, error) {
	if last.location != nil {
		return p.do(ctx, http.MethodGet, last.location, nil)
	}
	action := formAction.FindStringSubmatch(last.body)
	if action == nil {
		return nil, fmt.Errorf("%s shows no form: %s", last.at.Path, last.body)
	}
	to, err := last.at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		return nil, fmt.Errorf("the action of a form: %w", err)
	}
	return p.do(ctx, http.MethodPost, to, last.fields())
}

var (
	formAction = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	input      = regexp.MustCompile(`<input [^>]*>`)
	attribute  = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
)

// pageShown is an answer of the server.
type pageShown struct {
	at, location *url.URL
	body         string
}

// fields are those of the form as the server filled it in, without ticking
// anything, and the yes.
func (s *pageShown) fields() url.Values {
	values := url.Values{"decision": {"allow"}}
	for _, tag := range input.FindAllString(s.body, -1) {
		has := map[string]string{}
		for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
			has[a[1]] = html.UnescapeString(a[2])
		}
		if has["name"] != "" && has["type"] != "checkbox" {
			values.Set(has["name"], has["value"])
		}
	}
	return values
}

func (p *person) do(ctx context.Context, method string, at *url.URL, form url.Values) (*pageShown, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.browser.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	shown := &pageShown{at: at, body: string(body)}
	if resp.StatusCode == http.StatusFound || resp.StatusCode == http.StatusSeeOther {
		shown.location, err = resp.Location()
		return shown, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s was answered with %d: %s", method, at.Path, resp.StatusCode, body)
	}
	return shown, nil
}

// returns opens the address of the client, once it listens: the suite prints its request
// before it does.
func (p *person) returns(ctx context.Context, address *url.URL) error {
	for {
		_, err := p.do(ctx, http.MethodGet, address, nil)
		if !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
