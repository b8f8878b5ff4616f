package client

import (
	"context"
	"errors"
)

// ErrNotFound is returned by Store.Get for a name that has no value.
var ErrNotFound = errors.New("not found")

// A Store keeps a client's registrations and tokens, each a value of at most a few KiB
// under a name. Values are secrets: a Store that writes them to a disk encrypts them.
// Names are made of letters, digits, '-', '_' and '.', and are not secret. All methods may be
// called concurrently, and by several processes if the Store outlives one.
type Store interface {
	// Get returns a value, or ErrNotFound.
	Get(ctx context.Context, name string) ([]byte, error)
	// Put writes a value whole: readers see the old or the new one.
	Put(ctx context.Context, name string, value []byte) error
	// Delete removes a value; that there is none is no error.
	Delete(ctx context.Context, name string) error
	// List returns the names that have values, in any order.
	List(ctx context.Context) ([]string, error)
	// Lock waits until no one else, in this process or another, holds the lock of that
	// name, or until ctx ends. A holder that dies loses it. It says nothing about Get and Put.
	Lock(ctx context.Context, name string) (unlock func(), err error)
}
