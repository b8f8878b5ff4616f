package bridge

import (
	"errors"
	"log/slog"
	"sync"
)

// A logger is a slog.Logger that may be nil. What is logged names hosts and causes, never
// a header, a body, a path or a session id; ErrSignIn has the transport's words.
type logger struct {
	l *slog.Logger
	// told are the sign-ins that were asked for: hosts try again and again.
	told *sync.Map
}

func newLogger(l *slog.Logger) logger { return logger{l, new(sync.Map)} }

func (l logger) Debug(msg string, args ...any) {
	if l.l != nil {
		l.l.Debug(msg, args...)
	}
}

func (l logger) Info(msg string, args ...any) {
	if l.l != nil {
		l.l.Info(msg, args...)
	}
}

func (l logger) Warn(msg string, args ...any) {
	switch {
	case l.l == nil:
	case l.wasTold(args):
		l.l.Debug(msg, args...)
	default:
		l.l.Warn(msg, args...)
	}
}

// wasTold reports whether it is about a sign-in that was told of before, whatever was being
// done when it was found wanting.
func (l logger) wasTold(args []any) bool {
	for _, arg := range args {
		err, _ := arg.(error)
		if !errors.Is(err, ErrSignIn) {
			continue
		}
		var f *failure
		if errors.As(err, &f) && f.cause != nil {
			err = f.cause
		}
		_, before := l.told.LoadOrStore(plain(err), true)
		return before
	}
	return false
}
