package mcphttp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAHundredAnswersAtOnceReachTheirQuestions(t *testing.T) {
	s := plainServer()
	const n = 100
	addTask(s, "many", TaskOptions{}, func(ctx context.Context) (string, error) {
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			got  = map[string]int{}
			fail error
		)
		for range n {
			wg.Go(func() {
				name, err := askName(ctx)
				mu.Lock()
				defer mu.Unlock()
				got[name]++
				if err != nil {
					fail = err
				}
			})
		}
		wg.Wait()
		return fmt.Sprint(len(got)), fail
	})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("many", "")
	keys := k.asking(id, n)
	var wg sync.WaitGroup
	for i, key := range keys {
		for range 2 { // each answered twice: one counts
			wg.Go(func() {
				if a := k.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"n%d"}}}`, key, i)); a.status != 200 || a.msg.Error != nil {
					t.Errorf("update: %s", a.body)
				}
			})
		}
		wg.Go(func() { k.get(id) })
	}
	wg.Wait()
	if got := k.until(id, "completed", "failed"); got.text() != fmt.Sprint(n) {
		t.Errorf("%+v", got)
	}
}

func TestOfAHundredCancelsAndAnEndOneWins(t *testing.T) {
	s := plainServer()
	release := make(chan struct{})
	addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
		select {
		case <-release:
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	_, url := serve(t, s, nil)
	k := newTasker(t, url)
	id := k.create("work", "")
	var wg sync.WaitGroup
	statuses := make(chan string, 200)
	for i := range 100 {
		wg.Go(func() {
			if i == 50 {
				close(release)
			}
			if a := k.cancelTask(id); a.msg.Error != nil {
				t.Errorf("cancel: %s", a.body)
			}
			statuses <- k.get(id).Status
		})
	}
	wg.Wait()
	close(statuses)
	end := k.get(id).Status
	for s := range statuses {
		if s != end {
			t.Errorf("a task that was %s became %s", s, end)
		}
	}
}

func FuzzTaskKey(f *testing.F) {
	for _, s := range []string{"", "0-A", "abcd2345-BBBB", "0-/", "../x", "0-\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		key := taskKey(id)
		if key == "" {
			return
		}
		rest, ok := strings.CutPrefix(key, taskPrefix)
		digest, random, two := strings.Cut(rest, "/")
		if !ok || !two || digest+"-"+random != id || strings.ContainsAny(random, "/\x00") || len(key) > 128 {
			t.Errorf("%q became %q", id, key)
		}
	})
}

func FuzzAskedTasks(f *testing.F) {
	for _, s := range []string{`{"notifications":{"taskIds":["0-A"]}}`, `{"notifications":{"taskIds":null}}`, `{"notifications":{"taskIds":[1]}}`, `{"notifications":[]}`, `{}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, params string) {
		if !json.Valid([]byte(params)) || !strings.HasPrefix(params, "{") {
			return // the envelope was checked before
		}
		ids, err := askedTasks([]byte(params))
		if err == nil && len(ids) > maxFollowed {
			t.Errorf("%d ids", len(ids))
		}
	})
}

// FuzzTaskAnswer checks that no answer breaks a record, and that what was taken in
// is what the handler gets to decode.
func FuzzTaskAnswer(f *testing.F) {
	for _, s := range []string{`{"action":"accept","content":{"a":1}}`, `{"action":"x"}`, `{"roots":[{"uri":"file:///"}]}`, `{"role":"assistant","model":"m","content":{"type":"text","text":"t"}}`, `null`, `[]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !json.Valid([]byte(raw)) {
			return
		}
		for _, method := range []string{methodElicit, methodCreateMessage, methodListRoots} {
			r := &taskRecord{Status: taskWorking, Created: time.Now()}
			r.ask(1, taskAsk{Method: method, Request: json.RawMessage(`{}`)})
			changed := r.answer(map[string]json.RawMessage{askKey(1): json.RawMessage(raw), "other": json.RawMessage(raw)})
			if changed != (len(r.Answers) == 1) || changed != (len(r.Open) == 0) || changed != (r.Status == taskWorking) {
				t.Fatalf("%s: %+v", method, r)
			}
			if changed {
				if _, err := decodeAnswer(method, r.Answers[askKey(1)]); err != nil {
					t.Errorf("%s: taken in and not to be decoded: %v", method, err)
				}
			}
			if _, err := marshal(r); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			if !json.Valid(r.object("0-A", "", true)) {
				t.Errorf("%s: not JSON: %s", method, r.object("0-A", "", true))
			}
		}
	})
}
