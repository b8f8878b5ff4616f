package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scoreAuthorization runs the suite's authorization mode against
// conformance/authserver. The suite is a registered client; when it prints an
// authorization request, a person opens it, allows, and is sent back.
func scoreAuthorization(ctx context.Context, suite *suite, root string) (held bool, err error) {
	fixture, err := startFixture(ctx, root, "./conformance/authserver", suite.out, "-data", filepath.Join(suite.out, "authserver-data"))
	if err != nil {
		return false, err
	}
	defer func() {
		if stopErr := fixture.stop(); stopErr != nil && err == nil {
			held, err = false, stopErr
		}
	}()
	issuer := strings.TrimSuffix(fixture.url, "/mcp")
	port, err := freePort()
	if err != nil {
		return false, err
	}
	client, err := register(ctx, issuer, fmt.Sprintf("http://127.0.0.1:%d/callback", port))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // the suite itself waits for five
	defer cancel()
	asked := &requestWatch{open: func(address string) error { return newPerson().allow(ctx, address) }}
	results, err := suite.runWatched(ctx, authorizationSet, asked,
		"--url", issuer, "--client-id", client, "--resource", fixture.url, "--port", strconv.Itoa(port))
	if err = errors.Join(err, asked.failure()); err != nil {
		return false, err
	}
	verdict := authorizationSet.judge(results)
	fmt.Println(verdict)
	return verdict.held(), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// register makes the suite a public client (RFC 7591).
func register(ctx context.Context, issuer, redirect string) (id string, err error) {
	ask, err := json.Marshal(map[string]any{"client_name": "conformance suite", "redirect_uris": []string{redirect}, "token_endpoint_auth_method": "none"})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/register", bytes.NewReader(ask))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("registering the suite: %w", err)
	}
	defer resp.Body.Close()
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&client); err != nil || client.ID == "" {
		return "", fmt.Errorf("registering the suite: status %d (%v)", resp.StatusCode, err)
	}
	return client.ID, nil
}

// authorizationRequest is how one looks in what the suite prints.
var authorizationRequest = regexp.MustCompile(`https?://\S+code_challenge=\S+`)

// requestWatch opens the first authorization request that is written to it.
type requestWatch struct {
	open func(address string) error

	mu      sync.Mutex
	printed []byte
	opened  chan error // nil until there was one
}

func (w *requestWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.printed = append(w.printed, p...)
	if w.opened != nil {
		return len(p), nil
	}
	whole := w.printed[:bytes.LastIndexByte(w.printed, '\n')+1]
	if address := authorizationRequest.Find(whole); address != nil {
		w.opened = make(chan error, 1)
		go func(address string) { w.opened <- w.open(address) }(string(address))
	}
	return len(p), nil
}

// failure is why the person did not get through. It waits for them.
func (w *requestWatch) failure() error {
	w.mu.Lock()
	opened := w.opened
	w.mu.Unlock()
	if opened == nil {
		return errors.New("the suite printed no authorization request")
	}
	return <-opened
}
