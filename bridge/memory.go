package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
)

// A memory keeps what was learned of servers, so that the next start need not find out
// again in which era one speaks, and has an introduction ready while a sign-in waits. It
// holds nothing secret; without a directory it keeps nothing.
type memory struct {
	dir string
	log logger
	mu  sync.Mutex
}

type remembered struct {
	Way          way             `json:"way"`
	Version      string          `json:"version"`
	Info         json.RawMessage `json:"serverInfo,omitempty"`
	Capabilities json.RawMessage `json:"capabilities,omitempty"`
	Instructions json.RawMessage `json:"instructions,omitempty"`
}

// mostRemembered bounds the file of one server, whose words are in it.
const mostRemembered = 256 << 10

func (m *memory) path(url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(m.dir, hex.EncodeToString(sum[:12])+".json")
}

func (m *memory) load(url string) (remembered, bool) {
	var r remembered
	if m.dir == "" {
		return r, false
	}
	data, err := os.ReadFile(m.path(url))
	if err != nil || len(data) > mostRemembered || jsonrpc.Valid(data, 0) != nil {
		return r, false
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, false
	}
	return r, true
}

// way is how the server was reached last; empty if that is not known.
func (m *memory) way(url string) way {
	r, _ := m.load(url)
	return r.Way
}

func (m *memory) about(url string) (about, bool) {
	r, ok := m.load(url)
	return about{version: r.Version, info: r.Info, capabilities: r.Capabilities, instructions: r.Instructions}, ok
}

// learned writes down what a server said, if that is new.
func (m *memory) learned(url string, by way, a about) {
	if m.dir == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, err := json.Marshal(remembered{by, a.version, a.info, a.capabilities, a.instructions})
	if err != nil || len(data) > mostRemembered {
		return
	}
	path := m.path(url)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return
	}
	if err := writeWhole(path, data); err != nil {
		m.log.Debug("what was learned of the server cannot be kept", "error", err)
	}
}

// writeWhole replaces a file in one step; only its owner can read it.
func writeWhole(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
