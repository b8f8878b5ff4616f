package bridge

import "log/slog"

// A logger is a slog.Logger that may be nil. What is logged names hosts and causes, never
// a header, a body, a path or a session id.
type logger struct{ l *slog.Logger }

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
	if l.l != nil {
		l.l.Warn(msg, args...)
	}
}
