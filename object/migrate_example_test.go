package object_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
)

// A program counted, the next one has the sum in cents and keeps what it is made of.
func ExampleMigrateState() {
	type purseV1 struct{ Euros int }
	type Purse struct{ Cents int }
	ctx := context.Background()
	engine := store.NewMemory() // local.Open(dir, nil) to keep things
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	host, err := object.NewHost(engine, &object.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	old, err := object.Register(host, object.Spec[purseV1]{Name: "purse"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(old.Get("alice").SetState(ctx, purseV1{Euros: 3}))
	host.Close(ctx)

	if host, err = object.NewHost(engine, &object.Options{Dir: dir}); err != nil {
		log.Fatal(err)
	}
	defer host.Close(ctx)
	purses, err := object.Register(host, object.Spec[Purse]{Name: "purse", Migrations: []object.Migration{
		object.MigrateState(func(p purseV1) (Purse, error) { return Purse{Cents: 100 * p.Euros}, nil }),
		object.MigrateSQL(`CREATE TABLE coin (cents INTEGER NOT NULL)`),
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(purses.Get("alice").State(ctx))
	db, err := purses.Get("alice").SQL(ctx)
	if err != nil {
		log.Fatal(err)
	}
	var coins, version int
	fmt.Println(db.QueryRowContext(ctx, `SELECT count(*) FROM coin`).Scan(&coins), coins)
	fmt.Println(db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version), version)
	// Output:
	// <nil>
	// {300} <nil>
	// <nil> 0
	// <nil> 2
}

func ExampleMigrationError() {
	host, kind := carts(object.Spec[Cart]{Migrations: []object.Migration{
		object.MigrateSQL(`CREATE TABLE item (name TEXT)`),
		object.MigrateSQL(`ALTER TABLE items ADD COLUMN count INTEGER`), // there is no such table
	}})
	defer host.Close(context.Background())
	err := kind.Get("alice").SetState(context.Background(), Cart{})
	var failed *object.MigrationError
	fmt.Println(errors.As(err, &failed), failed.Number, failed.Count)
	// Output: true 2 2
}
