package mcphttp

import "testing"

// A reader of a queue hears of its end even if the end comes while something waits, in
// whatever order the two are told.
func TestAQueueThatIsClosedEndsAfterWhatWaits(t *testing.T) {
	for name, waiting := range map[string]int{"nothing": 0, "one": 1, "some": 3} {
		q := new(Handler).newQueue()
		q.maxLen, q.maxBytes = 10, 100
		for range waiting {
			q.put(event{data: []byte("x")})
		}
		q.close()
		got, ended := 0, false
		for told := true; told && !ended; {
			select {
			case <-q.wake:
				var evs []event
				evs, ended = q.take()
				got += len(evs)
			default:
				told = false
			}
		}
		if got != waiting || !ended {
			t.Errorf("%s: the reader got %d of %d and hears of the end: %v", name, got, waiting, ended)
		}
	}
}
