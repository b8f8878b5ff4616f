package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A bridge that is killed cannot end its session. So it keeps a note of it, in a file that
// only its user can read, and the next bridge to the same server finds the note: if the same
// host introduces itself in the same words, it goes on with that session and what the
// server keeps in it; else it ends the session on behalf of the dead.

// A note is what is kept of an open session.
type note struct {
	Session string          `json:"session"`
	Hello   string          `json:"hello"` // digest of what the host said and of the headers it said it with
	Answer  json.RawMessage `json:"answer"`
	Opened  time.Time       `json:"opened"`
}

// notesAge is when a note is too old to be of use to anybody.
const notesAge = 7 * 24 * time.Hour

func (m *memory) notePrefix(url string) string {
	return filepath.Join(m.dir, "sessions", strings.TrimSuffix(filepath.Base(m.path(url)), ".json")+"-")
}

// keep writes the note of a session; forget removes it.
func (m *memory) keep(url string, n note) (path string) {
	if m.dir == "" {
		return ""
	}
	data, err := json.Marshal(n)
	if err != nil || len(data) > mostRemembered {
		return ""
	}
	sum := sha256.Sum256([]byte(n.Session))
	path = m.notePrefix(url) + strconv.Itoa(os.Getpid()) + "-" + hex.EncodeToString(sum[:4])
	if err := writeWhole(path, data); err != nil {
		m.log.Debug("no note of the session can be kept", "error", err)
		return ""
	}
	return path
}

// left takes the notes of sessions whose bridges are dead. Each is given to one caller.
func (m *memory) left(url string) []note {
	if m.dir == "" {
		return nil
	}
	prefix := m.notePrefix(url)
	paths, _ := filepath.Glob(prefix + "*")
	var notes []note
	for _, path := range paths {
		pid, _, _ := strings.Cut(strings.TrimPrefix(path, prefix), "-")
		if n, err := strconv.Atoi(pid); err != nil || isAlive(n) {
			continue
		}
		taken := path + "-taken-" + strconv.Itoa(os.Getpid())
		if os.Rename(path, taken) != nil {
			continue // somebody else was faster
		}
		var n note
		data, err := os.ReadFile(taken)
		os.Remove(taken)
		if err == nil && len(data) <= mostRemembered && json.Unmarshal(data, &n) == nil && isSessionID(n.Session) && time.Since(n.Opened) < notesAge {
			notes = append(notes, n)
		}
	}
	return notes
}

// isAlive reports whether there is a process of that number; when in doubt there is.
func isAlive(pid int) bool {
	if pid <= 0 {
		return true
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}

// hello digests what makes two introductions the same: the host's words but for the id of
// its request, and the headers that the user gave.
func (r *remote) hello(in *intro) string {
	h := sha256.New()
	h.Write([]byte(in.version))
	h.Write(in.info)
	h.Write(in.caps)
	data, _ := json.Marshal(r.server.Header)
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// takeUp goes on with a session that a dead bridge left, and ends all others it left.
func (r *remote) takeUp(ctx context.Context, in *intro) link {
	var found *session
	hello := r.hello(in)
	for _, n := range r.b.cache.left(r.server.URL) {
		s := &session{w: r.w, to: r, log: r.log, id: n.Session}
		s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
		if found == nil && n.Hello == hello && s.revive(ctx, n, in, r.b.nextID()) {
			found = s
			continue
		}
		r.b.work.Go(func() {
			short, cancel := context.WithTimeout(context.WithoutCancel(r.b.life), closeTime)
			defer cancel()
			s.close(short)
		})
	}
	if found == nil {
		return nil // not a nil *session
	}
	return found
}

// revive asks whether the server still knows the session.
func (s *session) revive(ctx context.Context, n note, in *intro, id []byte) bool {
	result := []byte(n.Answer)
	if jsonrpc.Valid(result, 0) != nil {
		return false
	}
	line := jsonrpc.AppendResult(nil, firstOf(in.id, id), result)
	msg, err := jsonrpc.Parse(line, jsonrpc.Limits{})
	if err != nil {
		return false
	}
	if s.is, err = parseInitialized(delivery{msg, line}); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	d, err := s.call(ctx, newOutgoing(id, "ping", nil, nil))
	return err == nil && d.msg.Error == nil
}

// noted keeps a note of a session until it is closed.
func (r *remote) noted(in *intro, s *session) {
	if s.id == "" {
		return
	}
	path := r.b.cache.keep(r.server.URL, note{s.id, r.hello(in), s.is.answer.msg.Result, time.Now()})
	s.mu.Lock()
	s.note = path
	s.mu.Unlock()
	if s.over.Load() {
		s.unnoted()
	}
}

// unnoted removes the note of a session that is over.
func (s *session) unnoted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.note != "" {
		os.Remove(s.note)
		s.note = ""
	}
}
