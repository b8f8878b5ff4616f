package signin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startControl serves what a client under test cannot do itself: being the person at the
// browser, and pulling the plug of the server.
//
//	POST /browse   {url, name, deny, open}  opens an authorization request, answers every page and
//	                                        gives {url}, the address of the client; with open it goes there
//	POST /restart                           kill -9, and start again on the same data
//
// People keep their cookies: the same name is the same browser.
func startControl(t *testing.T, s *server) string {
	c := &control{server: s, people: make(map[string]*person)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /browse", c.browse)
	mux.HandleFunc("POST /restart", c.restart)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

type control struct {
	server *server
	mu     sync.Mutex // a person does one thing at a time
	people map[string]*person
}

func (c *control) browse(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		URL, Name  string
		Deny, Open bool
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.people[ask.Name]
	if p == nil {
		p = newPerson(ask.Name)
		c.people[ask.Name] = p
	}
	p.deny = ask.Deny
	address, err := p.answers(ask.URL)
	if err == nil && ask.Open {
		err = p.opens(address)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"url": address, "pages": p.pages})
}

// opens goes to where the client waits, once it does: some open the browser first.
func (p *person) opens(address string) error {
	resp, err := p.http.Get(address)
	for deadline := time.Now().Add(patience); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		resp, err = p.http.Get(address)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (c *control) restart(w http.ResponseWriter, _ *http.Request) {
	if err := c.server.killAndRestart(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
