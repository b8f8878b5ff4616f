package table

// expiryQueue is a heap of times at which an item may have expired. An item
// whose time is moved later keeps its place and is put back when the old time
// comes, so that a session that is used all day has one place, not thousands.
type expiryQueue struct {
	heap  []due
	stale int // places whose item is gone
}

type due struct {
	at  int64
	key string
}

// schedule sees to it that the queue looks at the item when it expires.
func (t *Table[V]) schedule(it *Item[V]) {
	if it.Expires == 0 || (it.due != 0 && it.due <= it.Expires) {
		return
	}
	if it.due != 0 {
		t.expiry.stale++ // moved earlier: the old place remains
	}
	it.due = it.Expires
	t.expiry.push(due{it.Expires, it.Key})
}

// NextDue returns when Due has something to do, 0 for never.
func (t *Table[V]) NextDue() int64 {
	if len(t.expiry.heap) == 0 {
		return 0
	}
	return t.expiry.heap[0].at
}

// Due returns the keys of at most n items that have expired by now. The caller
// deletes them.
func (t *Table[V]) Due(now int64, n int) []string {
	var keys []string
	for len(t.expiry.heap) > 0 && len(keys) < n && t.expiry.heap[0].at <= now {
		d := t.expiry.pop()
		it := t.Get(d.key)
		switch {
		case it == nil || it.due != d.at:
			t.expiry.stale = max(0, t.expiry.stale-1)
		case it.Expired(now):
			it.due = 0
			keys = append(keys, it.Key)
		default:
			it.due = 0
			t.schedule(it)
		}
	}
	return keys
}

// tidyExpiry rebuilds the queue when most of its places are of items long gone.
func (t *Table[V]) tidyExpiry() {
	if t.expiry.stale < 1024 || t.expiry.stale < len(t.expiry.heap)/2 {
		return
	}
	t.expiry = expiryQueue{}
	for _, block := range t.blocks {
		for i := range block {
			block[i].due = 0
			t.schedule(&block[i])
		}
	}
}

func (q *expiryQueue) push(d due) {
	q.heap = append(q.heap, d)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if q.heap[up].at <= d.at {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = d
}

func (q *expiryQueue) pop() due {
	top := q.heap[0]
	n := len(q.heap) - 1
	d := q.heap[n]
	q.heap[n] = due{}
	q.heap = q.heap[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && q.heap[c+1].at < q.heap[c].at {
			c++
		}
		if d.at <= q.heap[c].at {
			break
		}
		q.heap[i] = q.heap[c]
		i = c
	}
	q.heap[i] = d
	return top
}
