package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
)

// A relay is the least that can stand between HTTP and a program on stdio: net/http, a program a session, one
// request at a time, nothing read, nothing checked, nothing kept. It is there to show what of a call's cost is the
// way itself; nobody should run it.
type relay struct {
	argv     []string
	mu       sync.Mutex
	sessions map[string]*relayed
}

type relayed struct {
	mu      sync.Mutex
	in      io.Writer
	answers chan []byte
}

func beRelay(addr string, argv []string) error {
	return http.ListenAndServe(addr, &relay{argv: argv, sessions: map[string]*relayed{}})
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	id := req.Header.Get("Mcp-Session-Id")
	r.mu.Lock()
	s := r.sessions[id]
	if s == nil {
		id = rand.Text()
		if s, err = r.start(); err != nil {
			r.mu.Unlock()
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		r.sessions[id] = s
	}
	r.mu.Unlock()
	w.Header().Set("Mcp-Session-Id", id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.in.Write(append(body, '\n')); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if !bytes.Contains(body, []byte(`"id":`)) {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(<-s.answers)
}

func (r *relay) start() (*relayed, error) {
	cmd := exec.Command(r.argv[0], r.argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	s := &relayed{in: in, answers: make(chan []byte)}
	go func() {
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				fmt.Fprintln(os.Stderr, "the program ended:", err)
				return
			}
			if bytes.Contains(line, []byte(`"id":`)) && !bytes.Contains(line, []byte(`"method":`)) {
				s.answers <- line
			}
		}
	}()
	return s, nil
}
