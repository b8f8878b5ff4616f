package store

import (
	"context"
	"iter"
	"strings"
	"time"
)

// Namespace is the part of r whose keys begin with prefix, under keys without it:
// for tenants of one engine that must not see each other's records. Keys are that
// much shorter than [MaxKey].
func Namespace(r Records, prefix string) Records { return namespace{r, prefix} }

type namespace struct {
	records Records
	prefix  string
}

// Exclusive reports what the engine behind does, if it says.
func (n namespace) Exclusive() bool {
	e, ok := n.records.(interface{ Exclusive() bool })
	return ok && e.Exclusive()
}

// Volatile reports what the engine behind does, if it says.
func (n namespace) Volatile() bool {
	v, ok := n.records.(interface{ Volatile() bool })
	return ok && v.Volatile()
}

func (n namespace) own(r Record) Record {
	r.Key = strings.TrimPrefix(r.Key, n.prefix)
	return r
}

func (n namespace) Get(ctx context.Context, key string) (Record, error) {
	r, err := n.records.Get(ctx, n.prefix+key)
	return n.own(r), err
}

func (n namespace) GetCached(ctx context.Context, key string) (Record, time.Duration, error) {
	r, age, err := n.records.GetCached(ctx, n.prefix+key)
	return n.own(r), age, err
}

func (n namespace) Put(ctx context.Context, key string, value []byte, prev Revision, opts *PutOptions) (Revision, error) {
	return n.records.Put(ctx, n.prefix+key, value, prev, opts)
}

func (n namespace) Delete(ctx context.Context, key string, prev Revision) error {
	return n.records.Delete(ctx, n.prefix+key, prev)
}

func (n namespace) List(ctx context.Context, prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for r, err := range n.records.List(ctx, n.prefix+prefix) {
			if !yield(n.own(r), err) {
				return
			}
		}
	}
}

func (n namespace) Watch(ctx context.Context, prefix string, since Revision) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for c, err := range n.records.Watch(ctx, n.prefix+prefix, since) {
			c.Record = n.own(c.Record)
			if !yield(c, err) {
				return
			}
		}
	}
}
