package store

import (
	"fmt"
	"runtime"
	"testing"
)

func TestMemoryCostsLittlePerRecord(t *testing.T) {
	const n = 200_000
	m := NewMemory()
	defer m.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	payload := 0
	for i := range n {
		key := fmt.Sprintf("session/%032x", i*7919)
		value := []byte(`{"v":"2025-11-25","user":"somebody"}`)
		payload += len(key) + len(value)
		if _, err := m.Put(t.Context(), key, value, 0, &PutOptions{TTL: 1 << 50}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (int(after.HeapAlloc) - int(before.HeapAlloc) - payload) / n
	t.Logf("%d bytes per record beside key and value", per)
	if per > 300 {
		t.Errorf("a record costs %d bytes beside its key and value, want at most 300", per)
	}
}
