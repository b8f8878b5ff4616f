package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/oauth"
)

const (
	maxMessages = 20
	maxAnswer   = 1 << 20 // bytes
)

var mail = &http.Client{Timeout: 20 * time.Second}

// A message is the part of one that is shown.
type message struct {
	From    string `json:"from"`
	Subject string `json:"subject"`
	Snippet string `json:"snippet"`
}

type list []message

type messages struct {
	Messages list `json:"messages"`
}

func (l list) only(ok func(message) bool) list {
	kept := list{}
	for _, m := range l {
		if ok(m) {
			kept = append(kept, m)
		}
	}
	return kept
}

var (
	bookers  = regexp.MustCompile(`(?i)@([a-z0-9-]+\.)*(booking\.com|airline\.example|bahn\.de|hotels\.com)>?$`)
	bookings = regexp.MustCompile(`(?i)\b(booking|reservation|itinerary)\b`)
)

// isBooking decides here what a booking is, whatever the search made of it: the tool must
// not show more than its scope says, and a subject is anybody's to write.
func isBooking(m message) bool { return bookers.MatchString(m.From) && bookings.MatchString(m.Subject) }

// search asks Gmail's API, or what MAIL_URL says in its place, with the broad token of the
// person who asks. That never leaves this process.
func search(ctx context.Context, query string) (list, error) {
	t, err := oauth.UpstreamToken(ctx)
	if err != nil {
		return nil, err
	}
	token := t.AccessToken
	var found struct {
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
	}
	if err := get(ctx, token, "?maxResults="+fmt.Sprint(maxMessages)+"&q="+url.QueryEscape(query), &found); err != nil {
		return nil, err
	}
	all := list{}
	for _, f := range found.Messages[:min(len(found.Messages), maxMessages)] {
		m, err := read(ctx, token, f.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func read(ctx context.Context, token, id string) (m message, err error) {
	var full struct {
		Snippet string `json:"snippet"`
		Payload struct {
			Headers []struct{ Name, Value string } `json:"headers"`
		} `json:"payload"`
	}
	if err := get(ctx, token, "/"+url.PathEscape(id)+"?format=metadata&metadataHeaders=From&metadataHeaders=Subject", &full); err != nil {
		return m, err
	}
	m.Snippet = full.Snippet
	for _, h := range full.Payload.Headers {
		switch {
		case strings.EqualFold(h.Name, "From"):
			m.From = h.Value
		case strings.EqualFold(h.Name, "Subject"):
			m.Subject = h.Value
		}
	}
	return m, nil
}

func get(ctx context.Context, token, path string, into any) error {
	base := cmp.Or(os.Getenv("MAIL_URL"), "https://gmail.googleapis.com/gmail/v1/users/me/messages")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := mail.Do(req)
	if err != nil {
		return errors.New("the mail service cannot be reached") // the error has the query in it
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return errors.New("the mail service does not let us in any more: sign in again")
	default:
		return fmt.Errorf("the mail service answered with status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("reading mail: %w", err)
	}
	return nil
}
