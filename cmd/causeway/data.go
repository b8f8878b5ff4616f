package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

const dataUsage = `Looks into, checks and moves what a program keeps in its data directory.
The program must not be running: a directory belongs to one process at a time.

Usage: causeway data COMMAND [-data DIR]

  list                  kinds of objects, sessions and records, with counts and sizes
  list KIND             the objects of one kind
  inspect KIND ID       one object: state, alarms, queue, tables
  export KIND ID FILE   write one object to a new file; - is standard output
  import KIND ID FILE   make an object from an exported file; - is standard input
  verify                read everything and compare it with its checksums, and have
                        SQLite check every database; exits with 1 on damage
  compact               give up what nothing needs any more

ID is an object's whole id, or the part of one that list shows ("s-1a2b3c…9f0e",
or only its beginning), for import always the whole. An export holds what its
owner may want to keep secret: the file is readable by you alone.

Flags:
`

// Names in a data directory, as causeway.App lays it out.
const (
	storeDir   = "store"
	objectsDir = "objects"
	formatFile = "FORMAT"
)

// A dataCommand is one of the commands of "causeway data".
type dataCommand struct {
	args  []int // how many arguments it may have
	makes bool  // it makes objects, so that the directory of databases must be there
	run   func(ctx context.Context, d *dataDir, args []string) error
}

var dataCommands = map[string]dataCommand{
	"list":    {args: []int{0, 1}, run: listData},
	"inspect": {args: []int{2}, run: inspectObject},
	"export":  {args: []int{3}, run: exportObject},
	"import":  {args: []int{3}, run: importObject, makes: true},
	"verify":  {args: []int{0}, run: verifyData},
	"compact": {args: []int{0}, run: compactData},
}

func runData(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	f := newFlags("data", dataUsage, stderr)
	dir := ""
	f.StringVar(&dir, "data", "", "the program's data `directory`; otherwise $CAUSEWAY_DATA, or the only one in .causeway")
	words, err := f.parse(args)
	if err != nil {
		return err
	}
	if len(words) == 0 || words[0] == "help" {
		f.help(stdout)
		return nil
	}
	name, words := words[0], words[1:]
	command, ok := dataCommands[name]
	if !ok {
		return f.wrong("there is no %q%s", name, didYouMean(name, maps.Keys(dataCommands)))
	}
	if !slices.Contains(command.args, len(words)) {
		return f.wrong("%s does not take %d arguments", name, len(words))
	}
	if dir, err = chooseData(dir); err != nil {
		return err
	}
	d, err := openData(dir, command.makes, stderr)
	if err != nil {
		return err
	}
	d.in, d.out = stdin, stdout
	return errors.Join(command.run(ctx, d, words), d.close())
}

// chooseData finds the directory that was meant, and sees that it is one before
// anything is opened, because opening would make it.
func chooseData(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("CAUSEWAY_DATA")
	}
	if dir == "" {
		found, err := filepath.Glob(filepath.Join(".causeway", "*", storeDir, formatFile))
		if err == nil && len(found) == 0 {
			return "", errors.New("there is no data directory in .causeway here: run it where the program was started, or say -data DIR")
		}
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("there are %d data directories in .causeway: say which one with -data DIR", len(found))
		}
		return filepath.Dir(filepath.Dir(found[0])), nil
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("there is no directory %s: give the one that the program was started with as -data DIR", dir)
	case err != nil:
		return "", fmt.Errorf("looking at the data directory: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("%s is a file: give the program's data directory as -data DIR", dir)
	}
	if exists(filepath.Join(dir, storeDir, formatFile)) {
		return dir, nil
	}
	whole, err := filepath.Abs(dir)
	if err == nil && filepath.Base(whole) == storeDir && exists(filepath.Join(whole, formatFile)) {
		return "", fmt.Errorf("%s is the log of a data directory: give %s instead", dir, filepath.Dir(whole))
	}
	if exists(filepath.Join(dir, storeDir, "log")) {
		return "", fmt.Errorf("%s is missing: restore that file from a backup of the directory", filepath.Join(dir, storeDir, formatFile))
	}
	return "", fmt.Errorf("%s is no data directory of Causeway (it has no %s): give the one that the program was started with as -data DIR",
		dir, filepath.Join(storeDir, formatFile))
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// dataDir is an open data directory.
type dataDir struct {
	dir     string
	engine  *local.Store
	objects *object.Host
	in      io.Reader
	out     io.Writer
}

// openData opens the directory as the App does, but without starting anything:
// alarms stay where they are.
func openData(dir string, makes bool, stderr io.Writer) (*dataDir, error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	engine, err := local.Open(filepath.Join(dir, storeDir), &local.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	d := &dataDir{dir: dir, engine: engine}
	// What only looks makes no directory: without one there is no database either.
	options := object.Options{Logger: slog.New(slog.DiscardHandler), MaxState: 64 << 20}
	if databases := filepath.Join(dir, objectsDir); makes || exists(databases) {
		options.Dir = databases
	}
	if d.objects, err = object.NewHost(engine, &options); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the objects in %s: %w", dir, err), engine.Close())
	}
	return d, nil
}

func (d *dataDir) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(d.objects.Close(ctx), d.engine.Close())
}

// find is the object of that kind whose id is given, wholly or as list shows it.
func (d *dataDir) find(ctx context.Context, kind, given string) (store.ObjectID, error) {
	if id := (store.ObjectID{Kind: kind, ID: given}); id.Check() == nil {
		if _, err := d.engine.Stat(ctx, id); !errors.Is(err, store.ErrNotFound) {
			return id, err
		}
	}
	head, tail, _ := strings.Cut(given, elision)
	var found []store.ObjectID
	for info, err := range d.engine.Objects(ctx, kind) {
		if err != nil {
			return store.ObjectID{}, fmt.Errorf("looking for the object: %w", err)
		}
		if id := info.Object.ID; given != "" && len(id) >= len(head)+len(tail) && strings.HasPrefix(id, head) && strings.HasSuffix(id, tail) {
			found = append(found, info.Object)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return store.ObjectID{}, fmt.Errorf("%d objects of kind %q have such an id: \"causeway data list KIND\" shows which there are", len(found), kind)
}
