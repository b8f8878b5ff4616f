package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/store"
)

const restoreRemedy = "restore the directory from a backup, and check the disk"

// verifyData reads everything. It goes on after damage, so that one run tells all
// of it.
func verifyData(ctx context.Context, d *dataDir, _ []string) error {
	var found []error
	if err := d.engine.Verify(ctx); err != nil {
		found = append(found, err)
	}
	objects, databases := 0, 0
	for info, err := range d.engine.Objects(ctx, "") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			found = append(found, err)
			break
		}
		objects++
		has, err := d.checkObject(ctx, info.Object)
		if err != nil {
			found = append(found, err)
		}
		if has {
			databases++
		}
	}
	note := ""
	switch err := causeway.CheckSecret(ctx, d.dir, d.engine); {
	case errors.Is(err, fs.ErrNotExist):
		note = fmt.Sprintf("The secret that it was made with is not in it: %v. Without it the program will not start, unless it is given as App.Secret.\n", err)
	case err != nil:
		found = append(found, err)
	}
	if err := joined("the data in "+d.dir+" is damaged", found); err != nil {
		return err
	}
	_, err := fmt.Fprintf(d.out, "%s is whole: %d objects, %d of them with a database\n%s", d.dir, objects, databases, note)
	return err
}

func (d *dataDir) checkObject(ctx context.Context, id store.ObjectID) (database bool, err error) {
	in, err := d.objects.Inspect(ctx, id)
	if err != nil {
		return false, about(id, withRemedy(err))
	}
	if !in.Database {
		return false, about(id, d.objects.Check(ctx, id))
	}
	if err := d.objects.Check(ctx, id); err != nil {
		return true, about(id, d.aboutDatabase(id, err))
	}
	return true, nil
}

// aboutDatabase names the file and what to do.
func (d *dataDir) aboutDatabase(id store.ObjectID, err error) error {
	return withRemedy(fmt.Errorf("database %s: %w", d.databaseFile(id), err))
}

// withRemedy says what to do, unless the engine has.
func withRemedy(err error) error {
	if errors.Is(err, context.Canceled) || strings.Contains(err.Error(), restoreRemedy) {
		return err
	}
	return fmt.Errorf("%w; %s", err, restoreRemedy)
}

// databaseFile is where package object keeps the database, for messages.
func (d *dataDir) databaseFile(id store.ObjectID) string {
	sum := sha256.Sum256([]byte(id.Kind + "\x00" + id.ID))
	name := hex.EncodeToString(sum[:16])
	return filepath.Join(d.dir, objectsDir, name[:2], name+".db")
}

// compactData refuses a damaged log, whose files compaction would leave aside.
func compactData(ctx context.Context, d *dataDir, _ []string) error {
	if err := d.engine.Verify(ctx); err != nil {
		return fmt.Errorf("not compacted: %w", err)
	}
	if err := d.engine.Compact(ctx); err != nil {
		return fmt.Errorf("compacting %s: %w", d.dir, err)
	}
	_, err := fmt.Fprintf(d.out, "compacted %s\n", d.dir)
	return err
}
