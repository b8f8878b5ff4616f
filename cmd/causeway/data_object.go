package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

func inspectObject(ctx context.Context, d *dataDir, args []string) error {
	id, err := d.find(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	in, err := d.objects.Inspect(ctx, id)
	if err != nil {
		return about(id, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s/%s: %d entries, %d remembered results\n", id.Kind, short(id.ID), in.Entries, in.Results)
	printState(&b, in.State)
	for _, a := range in.Alarms {
		fmt.Fprintf(&b, "alarm %q at %s%s, attempt %d: %s\n", a.Name, a.At.UTC().Format(time.RFC3339), repeats(a), a.Attempt, a.Payload)
	}
	for _, j := range in.Jobs {
		state := "job"
		if j.Dead {
			state = "dead job"
		}
		fmt.Fprintf(&b, "%s %q at %s, attempt %d: %s", state, j.Name, j.At.UTC().Format(time.RFC3339), j.Attempt, j.Payload)
		if j.Err != "" {
			fmt.Fprintf(&b, " (last failure: %q)", j.Err)
		}
		b.WriteByte('\n')
	}
	if in.Database {
		err = d.printTables(ctx, &b, id)
	}
	_, werr := io.WriteString(d.out, printable(b.String()))
	return errors.Join(about(id, err), werr)
}

func printState(b *bytes.Buffer, state json.RawMessage) {
	if state == nil {
		b.WriteString("state: none was written\n")
		return
	}
	b.WriteString("state: ")
	if err := json.Indent(b, state, "", "  "); err != nil {
		b.Write(state)
	}
	b.WriteByte('\n')
}

func repeats(a object.Alarm) string {
	switch {
	case a.Cron != "":
		return fmt.Sprintf(" (cron %q)", a.Cron)
	case a.Every != 0:
		return fmt.Sprintf(" (every %v)", a.Every)
	}
	return ""
}

// untyped gives an object of a kind whose Go type is not known.
func (d *dataDir) untyped(id store.ObjectID) (*object.Object[json.RawMessage], error) {
	kind, err := object.Register(d.objects, object.Spec[json.RawMessage]{Name: id.Kind})
	if err != nil {
		return nil, err
	}
	return kind.Get(id.ID), nil
}

func (d *dataDir) printTables(ctx context.Context, b *bytes.Buffer, id store.ObjectID) error {
	o, err := d.untyped(id)
	if err != nil {
		return err
	}
	db, err := o.SQL(ctx)
	if err != nil {
		return d.aboutDatabase(id, err)
	}
	rows, err := db.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return d.aboutDatabase(id, err)
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return errors.Join(d.aboutDatabase(id, err), rows.Close())
		}
		tables = append(tables, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return d.aboutDatabase(id, err)
	}
	var failed []error
	for _, name := range tables {
		var n int64
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM "`+strings.ReplaceAll(name, `"`, `""`)+`"`).Scan(&n)
		if err != nil {
			failed = append(failed, d.aboutDatabase(id, fmt.Errorf("table %q: %w", name, err)))
			continue
		}
		fmt.Fprintf(b, "table %q: %d rows\n", name, n)
	}
	return errors.Join(failed...)
}

func exportObject(ctx context.Context, d *dataDir, args []string) error {
	id, err := d.find(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	if args[2] == "-" {
		return about(id, d.objects.Export(ctx, id, d.out))
	}
	f, err := os.OpenFile(args[2], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and is not overwritten: give another name", args[2])
	}
	if err != nil {
		return fmt.Errorf("making the file to export to: %w", err)
	}
	err = d.objects.Export(ctx, id, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		// Half an export would look like one.
		return errors.Join(about(id, err), os.Remove(args[2]))
	}
	_, err = fmt.Fprintf(d.out, "exported %s/%s to %s\n", id.Kind, short(id.ID), args[2])
	return err
}

func importObject(ctx context.Context, d *dataDir, args []string) error {
	id := store.ObjectID{Kind: args[0], ID: args[1]}
	if err := id.Check(); err != nil {
		return fmt.Errorf("the object to import into: %w", err)
	}
	if strings.Contains(id.ID, elision) {
		return fmt.Errorf("%q is a shortened id: give the whole one to import into", id.ID)
	}
	in := d.in
	if args[2] != "-" {
		f, err := os.Open(args[2])
		if err != nil {
			return fmt.Errorf("reading the export: %w", err)
		}
		defer f.Close()
		in = f
	}
	o, err := d.untyped(id)
	if err != nil {
		return err
	}
	switch err := o.Import(ctx, in); {
	case errors.Is(err, object.ErrExists):
		return fmt.Errorf("%w; nothing was changed: import under another id, or let the program delete it first", about(id, err))
	case errors.Is(err, object.ErrDamaged):
		return fmt.Errorf("importing %s: %w; nothing was changed: export it again", args[2], about(id, err))
	case err != nil:
		return fmt.Errorf("importing %s: %w", args[2], about(id, err))
	}
	_, err = fmt.Fprintf(d.out, "imported %s/%s\n", id.Kind, short(id.ID))
	return err
}
