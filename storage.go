package causeway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

// storage is what an App keeps things in: sessions, tasks and the objects of its
// agents.
type storage struct {
	engine  store.Engine
	owned   bool            // the engine is the App's to close
	failed  <-chan struct{} // closed when the disk has failed; nil if it cannot
	objects *object.Host
	secret  []byte
	macs    sync.Pool // of HMACs under secret
	run     string    // names this process
	stops   []func()  // end what runs in the background
	dir     string    // the data directory, "" for none
	log     *slog.Logger

	personal    []ownedKind // of agents whose objects belong to people; complete once the mounts are made
	kinds       sync.Map    // agentKey → *object.Kind[State]
	audiences   sync.Map    // kind → *audience
	handleTools sync.Map    // *mcp.Tool → *mcp.Tool with the handle argument
}

type storageKey struct{}

const (
	storeMemory = "memory"
	storeFile   = "file:"
	mountPrefix = "mount" // of the records of a mount; its path follows
	secretFile  = "secret.key"
	// secretRecord says which secret the directory's contents are signed with.
	secretRecord = "causeway/secret"
)

// openStorage opens what the settings name.
func openStorage(a *App) (_ *storage, err error) {
	st := &storage{engine: a.Engine, log: a.logger(), run: rand.Text()[:8]}
	dir, err := a.dataDir()
	if err != nil {
		return nil, settingsError{err}
	}
	st.dir = dir
	options := object.Options{Logger: st.log, Deliver: st.deliver}
	defer func() {
		if err != nil {
			_ = st.close(context.Background())
		}
	}()
	switch {
	case st.engine != nil:
	case dir == "":
		st.engine, st.owned = store.NewMemory(), true
	default:
		// The engine's directory is its own: it takes nothing of others into account.
		engine, err := local.Open(filepath.Join(dir, "store"), &local.Options{Logger: st.log})
		if err != nil {
			return nil, fmt.Errorf("opening the data directory %s: %w", dir, err)
		}
		st.engine, st.owned, st.failed = engine, true, engine.Failed()
		options.Dir = filepath.Join(dir, "objects")
	}
	if st.secret, err = st.openSecret(dir, a.Secret); err != nil {
		return nil, err
	}
	if st.objects, err = object.NewHost(st.engine, &options); err != nil {
		return nil, fmt.Errorf("opening the objects: %w", err)
	}
	return st, nil
}

// dataDir is the directory that the settings name, "" for memory.
func (a *App) dataDir() (string, error) {
	dir := a.Data
	switch {
	case a.Store == "":
	case dir != "":
		return "", fmt.Errorf("-data %q and -store %q: say where to keep things once", a.Data, a.Store)
	case a.Store == storeMemory:
		return "", nil
	case strings.HasPrefix(a.Store, storeFile) && len(a.Store) > len(storeFile):
		dir = a.Store[len(storeFile):]
	default:
		return "", fmt.Errorf("-store %q: want file:DIR or memory", a.Store)
	}
	return dir, nil
}

// openSecret returns the key under which handles, rounds of questions and object
// ids are made. It lies beside the data, not in it, so that a copy of the data
// alone opens nothing; and where the data was made with another key it is not
// replaced, because everything signed would be void.
func (st *storage) openSecret(dir string, given []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := st.engine.Get(ctx, secretRecord)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("reading which secret the data was made with: %w", err)
	}
	known := string(r.Value)
	secret, name := given, "App.Secret"
	if secret == nil && dir != "" {
		name = filepath.Join(dir, secretFile)
		if secret, err = readSecret(name); err != nil {
			return nil, err
		}
		if secret == nil && known != "" {
			return nil, fmt.Errorf("%s is missing, and the data in %s was made with it: put it back, or give it as App.Secret; a new one would end every session and lose every handle", name, dir)
		}
		if secret == nil {
			if secret, err = makeSecret(name); err != nil {
				return nil, err
			}
		}
	}
	if secret == nil {
		secret = make([]byte, 32)
		rand.Read(secret)
	}
	if len(secret) < 32 {
		return nil, fmt.Errorf("%s has %d bytes: at least 32 are needed", name, len(secret))
	}
	id := secretID(secret)
	switch {
	case known == id:
		return secret, nil
	case known != "":
		return nil, fmt.Errorf("%s is not the secret that the data was made with (that one is called %s, this one %s): put the right one back", name, known, id)
	}
	if _, err := st.engine.Put(ctx, secretRecord, []byte(id), 0, nil); err != nil {
		return nil, fmt.Errorf("noting which secret the data is made with: %w", err)
	}
	return secret, nil
}

// CheckSecret compares the file secret.key of a data directory with what the records in
// it say their contents were made with, for tools that look at directories: nil if it is
// the one, or if nothing was made with any. The error wraps fs.ErrNotExist if the file is
// missing, which is as it should be for an [App] that is given its Secret.
func CheckSecret(ctx context.Context, dir string, records store.Records) error {
	r, err := records.Get(ctx, secretRecord)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which secret the data was made with: %w", err)
	}
	name, known := filepath.Join(dir, secretFile), string(r.Value)
	secret, err := readSecret(name)
	if err != nil {
		return err
	}
	if secret == nil {
		return fmt.Errorf("%s, called %s: %w", name, known, fs.ErrNotExist)
	}
	if id := secretID(secret); id != known {
		return fmt.Errorf("%s is not the secret that the data was made with (that one is called %s, this one %s): put the right one back", name, known, id)
	}
	return nil
}

// secretID names a secret without telling it.
func secretID(secret []byte) string {
	sum := sha256.Sum256(append([]byte("causeway secret id\x00"), secret...))
	return hex.EncodeToString(sum[:6])
}

func readSecret(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secret: %w", err)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: not a secret in hexadecimal", name)
	}
	return secret, nil
}

// makeSecret writes a new secret so that it is there wholly or not at all.
func makeSecret(name string) ([]byte, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	tmp, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the secret: %w", err)
	}
	_, err = fmt.Fprintln(tmp, hex.EncodeToString(secret))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		return nil, fmt.Errorf("making the secret: %w", err)
	}
	return secret, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// background runs fn until the storage closes.
func (st *storage) background(fn func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); fn(ctx) }()
	st.stops = append(st.stops, func() { stop(); <-done })
}

func (st *storage) close(ctx context.Context) error {
	var errs []error
	for _, stop := range st.stops {
		stop()
	}
	if st.objects != nil {
		errs = append(errs, st.objects.Close(ctx))
	}
	if st.owned && st.engine != nil {
		errs = append(errs, st.engine.Close())
	}
	return errors.Join(errs...)
}
