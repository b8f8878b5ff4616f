package mcphttp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// An eventLog keeps the events of one stream for replay. Each event is a record
// of its own under the session, so that whoever serves the resuming request,
// this process or another, finds it. The log is bounded; the oldest events go
// first.
//
// An eventLog is used under the lock of its stream.
type eventLog struct {
	records store.Records
	prefix  string // of the stream's records
	ttl     time.Duration
	max     int
	maxSize int

	kept []keptEvent
	size int
}

// keptLogs are the logs of a session's streams that have ended. Together they are
// bounded; the oldest go first.
type keptLogs struct {
	mu    sync.Mutex
	ended []endedLog
	size  int
}

type endedLog struct {
	log *eventLog
	at  time.Time
}

// maxLogs is how many full logs a session may keep after their streams' ends.
const maxLogs = 4

// retire takes in the log of a stream that has ended.
func (k *keptLogs) retire(l *eventLog) {
	k.mu.Lock()
	k.ended = append(k.ended, endedLog{l, time.Now()})
	k.size += l.size
	var drop []*eventLog
	for len(k.ended) > 0 && (k.size > maxLogs*l.maxSize || len(k.ended) > l.max || time.Since(k.ended[0].at) > l.ttl) {
		drop = append(drop, k.ended[0].log)
		k.size -= k.ended[0].log.size
		k.ended = k.ended[1:]
	}
	k.mu.Unlock()
	for _, old := range drop {
		old.drop()
	}
}

// drop removes what is kept. What cannot be removed expires.
func (l *eventLog) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	for _, ev := range l.kept {
		if err := l.records.Delete(ctx, l.prefix+seqKey(ev.seq), ev.rev); err != nil && ctx.Err() != nil {
			return
		}
	}
}

type keptEvent struct {
	seq  uint64
	rev  store.Revision
	size int
}

func (h *Handler) newEventLog(session, stream string) *eventLog {
	return &eventLog{records: h.opts.Records, prefix: eventPrefix(session, stream),
		ttl: h.opts.EventTTL, max: h.opts.MaxEvents, maxSize: h.opts.MaxEventBytes}
}

func eventPrefix(session, stream string) string {
	return "mcp/event/" + session + "/" + stream + "/"
}

func seqKey(seq uint64) string { return fmt.Sprintf("%010x", seq) }

// A kept event is a byte of flags, its source behind its length if it has one, and the
// message.
const (
	eventFinal   = 1 << iota // the last one of its stream
	eventSourced             // it has a source
)

// maxSource is how long a source may be, in bytes.
const maxSource = 255

// append keeps one event. final marks the last one of its stream; source, which may be
// empty, names what it tells of.
func (l *eventLog) append(ctx context.Context, seq uint64, source string, data []byte, final bool) error {
	v := make([]byte, 1, 2+len(source)+len(data))
	if final {
		v[0] |= eventFinal
	}
	if source != "" && len(source) <= maxSource {
		v[0] |= eventSourced
		v = append(append(v, byte(len(source))), source...)
	}
	v = append(v, data...)
	rev, err := l.records.Put(ctx, l.prefix+seqKey(seq), v, 0, &store.PutOptions{TTL: l.ttl})
	if err != nil {
		return fmt.Errorf("keeping an event for replay: %w", err)
	}
	l.kept = append(l.kept, keptEvent{seq, rev, len(v)})
	l.size += len(v)
	for len(l.kept) > l.max || (l.size > l.maxSize && len(l.kept) > 1) {
		old := l.kept[0]
		l.kept = l.kept[1:]
		l.size -= old.size
		// Losing the race against its expiry is fine.
		if err := l.records.Delete(ctx, l.prefix+seqKey(old.seq), old.rev); err != nil &&
			!errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("dropping an old event: %w", err)
		}
	}
	return nil
}

// A loggedEvent is one event as it was kept.
type loggedEvent struct {
	seq    uint64
	source string
	data   []byte
	final  bool
}

// decodeEvent reads what append has written.
func decodeEvent(seq uint64, v []byte) (ev loggedEvent, ok bool) {
	if len(v) == 0 {
		return ev, false
	}
	ev = loggedEvent{seq: seq, final: v[0]&eventFinal != 0}
	sourced, v := v[0]&eventSourced != 0, v[1:]
	if sourced {
		if len(v) == 0 || len(v) < 1+int(v[0]) {
			return ev, false
		}
		n := 1 + int(v[0])
		ev.source, v = string(v[1:n]), v[n:]
	}
	ev.data = v
	return ev, true
}

// eventsAfter reads what was kept of a stream after seq. gap reports that events
// between are no longer there.
func (h *Handler) eventsAfter(ctx context.Context, session, stream string, seq uint64) (evs []loggedEvent, gap bool, err error) {
	prefix := eventPrefix(session, stream)
	for r, err := range h.opts.Records.List(ctx, prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("reading kept events: %w", err)
		}
		n, perr := strconv.ParseUint(strings.TrimPrefix(r.Key, prefix), 16, 64)
		if perr != nil || n <= seq {
			continue
		}
		if ev, ok := decodeEvent(n, r.Value); ok {
			evs = append(evs, ev)
		}
	}
	return evs, len(evs) > 0 && evs[0].seq != seq+1, nil
}

// An eventID names one event of one stream of a session: "STREAM~SEQ". The
// stream of a request carries the request's JSON-RPC id, so that a stream whose
// process died can still be answered with an error for that very request.
type eventID struct {
	stream string
	seq    uint64
}

func (e eventID) String() string { return e.stream + "~" + strconv.FormatUint(e.seq, 10) }

// listenStream is the stream of GET requests, which belongs to no request.
const listenStream = "g"

// callStream names the stream of a POST. ids are the JSON-RPC ids it answers.
func callStream(nonce string, ids []string) string {
	return "c" + nonce + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Join(ids, "\n")))
}

// Sequence numbers have seqBits bits; a client's word alone gets a stream half of the
// way to the last.
const (
	seqBits       = 39
	maxClaimedSeq = 1 << (seqBits - 1)
)

var errEventID = errors.New("Last-Event-ID: not an event id of this server")

// parseEventID reads what a client sent as Last-Event-ID: outside bytes.
func parseEventID(s string) (eventID, error) {
	stream, num, ok := strings.Cut(s, "~")
	if !ok || len(s) > 400 || stream == "" {
		return eventID{}, errEventID
	}
	seq, err := strconv.ParseUint(num, 10, seqBits)
	if err != nil || strconv.FormatUint(seq, 10) != num {
		return eventID{}, errEventID
	}
	for i := range len(stream) {
		if c := stream[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return eventID{}, errEventID
		}
	}
	return eventID{stream, seq}, nil
}

// requestIDs returns the JSON-RPC ids that a call's stream was to answer, raw.
func (e eventID) requestIDs() []string {
	_, enc, ok := strings.Cut(e.stream, ".")
	if !ok || e.stream[0] != 'c' {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(enc)
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(string(raw), "\n")
}

// openStreams finds a session's streams that can be resumed here and now.
type openStreams struct {
	mu      sync.Mutex
	replies map[string]*postReply
}

func (o *openStreams) add(r *postReply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replies == nil {
		o.replies = make(map[string]*postReply)
	}
	o.replies[r.stream] = r
}

func (o *openStreams) remove(r *postReply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replies[r.stream] == r {
		delete(o.replies, r.stream)
	}
}

func (o *openStreams) find(stream string) *postReply {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replies[stream]
}
