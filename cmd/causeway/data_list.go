package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/causeway-mcp/causeway/store"
)

// tally counts what belongs together.
type tally struct {
	count   int
	entries int
	bytes   int64
}

func listData(ctx context.Context, d *dataDir, args []string) error {
	if len(args) == 1 {
		return d.listKind(ctx, args[0])
	}
	kinds, err := d.countObjects(ctx)
	if err != nil {
		return err
	}
	groups, sessions, err := d.countRecords(ctx)
	if err != nil {
		return err
	}
	databases := d.countDatabases()
	w := tabwriter.NewWriter(d.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tOBJECTS\tENTRIES\tSIZE")
	for _, kind := range sortedKeys(kinds) {
		t := kinds[kind]
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", printable(kind), t.count, t.entries, size(t.bytes))
	}
	fmt.Fprintf(w, "\nDATABASES\t%d\t\t%s\n", databases.count, size(databases.bytes))
	fmt.Fprintf(w, "SESSIONS\t%d\t\t%s\n", sessions.count, size(sessions.bytes))
	fmt.Fprintln(w, "\nRECORDS\tCOUNT\t\tSIZE")
	for _, group := range sortedKeys(groups) {
		t := groups[group]
		fmt.Fprintf(w, "%s\t%d\t\t%s\n", printable(group), t.count, size(t.bytes))
	}
	return w.Flush()
}

func sortedKeys(m map[string]tally) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (d *dataDir) countObjects(ctx context.Context) (map[string]tally, error) {
	kinds := map[string]tally{}
	for info, err := range d.engine.Objects(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("listing the objects: %w", err)
		}
		t := kinds[info.Object.Kind]
		kinds[info.Object.Kind] = tally{t.count + 1, t.entries + info.Entries, t.bytes + info.Size}
	}
	return kinds, nil
}

func (d *dataDir) countRecords(ctx context.Context) (groups map[string]tally, sessions tally, err error) {
	groups = map[string]tally{}
	for r, err := range d.engine.List(ctx, "") {
		if err != nil {
			return nil, tally{}, fmt.Errorf("listing the records: %w", err)
		}
		bytes := int64(len(r.Key) + len(r.Value))
		group := recordGroup(r.Key)
		t := groups[group]
		groups[group] = tally{count: t.count + 1, bytes: t.bytes + bytes}
		if strings.HasSuffix(group, sessionGroup) {
			sessions.count++
			sessions.bytes += bytes
		}
	}
	return groups, sessions, nil
}

// sessionGroup is where package mcphttp keeps sessions, one record for each.
const sessionGroup = "mcp/session/"

// recordGroup is the part of a key that says what the record is. What comes after
// it, and every key that is not Causeway's own, may be a secret.
func recordGroup(key string) string {
	mount, rest := "", key
	if path, r, ok := strings.Cut(key, "|"); ok && strings.HasPrefix(path, "mount/") {
		mount, rest = path+"|", r
	}
	parts := strings.Split(rest, "/")
	if !slices.Contains([]string{"mcp", "oauth", "object", "causeway"}, parts[0]) {
		return mount + "(other)"
	}
	return mount + strings.Join(parts[:min(2, max(1, len(parts)-1))], "/") + "/"
}

func (d *dataDir) countDatabases() (t tally) {
	// A database that goes or cannot be looked at is for verify to report.
	_ = filepath.WalkDir(filepath.Join(d.dir, objectsDir), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".db") {
			return nil
		}
		if info, err := e.Info(); err == nil {
			t.count, t.bytes = t.count+1, t.bytes+info.Size()
		}
		return nil
	})
	return t
}

func (d *dataDir) listKind(ctx context.Context, kind string) error {
	var all []store.ObjectInfo
	for info, err := range d.engine.Objects(ctx, kind) {
		if err != nil {
			return fmt.Errorf("listing the objects: %w", err)
		}
		all = append(all, info)
	}
	if len(all) == 0 || kind == "" {
		return fmt.Errorf("there is no object of kind %q: \"causeway data list\" shows the kinds", kind)
	}
	slices.SortFunc(all, func(a, b store.ObjectInfo) int { return strings.Compare(a.Object.ID, b.Object.ID) })
	w := tabwriter.NewWriter(d.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tENTRIES\tSIZE")
	for _, info := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\n", short(info.Object.ID), info.Entries, size(info.Size))
	}
	return w.Flush()
}
