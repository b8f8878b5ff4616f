package object

// TuneForTests makes every mechanism that is rare run often, and shows when a database file was flushed.
func (h *Host) TuneForTests(synced func(path string)) {
	h.limits = limits{sleepEntries: 2, snapshotEntries: 5, snapshotBytes: 4 << 10, databaseEntries: 12, databaseBytes: 64 << 10, checkpointBytes: 24 << 10}
	h.synced = synced
	if synced != nil { // flushes rare, checkpoints often: much is in the files that is not durable
		h.limits.sleepEntries, h.limits.databaseEntries, h.limits.databaseBytes = 1000, 50, 1<<30
	}
}

// KnowFewWakes makes the clock hold few entries, so that it has to read the records again.
func (h *Host) KnowFewWakes() { h.clock.max = 4 }

// WatchFlushes shows when a database file was flushed, and changes nothing.
func (h *Host) WatchFlushes(synced func(path string)) { h.synced = synced }
