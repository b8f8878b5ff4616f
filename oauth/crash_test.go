package oauth

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"golang.org/x/oauth2"

	"github.com/causeway-mcp/causeway/store/local"
)

// With the variable set the test binary is a server, which the tests below kill.
const childFolder = "CAUSEWAY_TEST_OAUTH_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if err := child(dir, os.Getenv("CAUSEWAY_TEST_OAUTH_ADDR"), os.Getenv("CAUSEWAY_TEST_OAUTH_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func child(dir, addr, there string) error {
	ctx := context.Background()
	disk, err := local.Open(dir, nil)
	if err != nil {
		return err
	}
	keys, err := OpenKeyFile(ctx, filepath.Join(dir, "..", "signin.key"), disk)
	if err != nil {
		return err
	}
	p := &Provider{
		Issuer: "http://" + addr, Login: killedLogin{overHTTP: overHTTP(there)}, Records: disk, Keys: keys, Limits: Limits{Token: -1, Pages: -1},
		Clients: []Client{{ID: testClient, RedirectURIs: []string{testRedirect}}}, Logger: slog.New(slog.DiscardHandler),
	}
	s, err := p.Protect(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tok, err := UpstreamToken(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		io.WriteString(w, tok.AccessToken)
	}))
	if err != nil {
		return err
	}
	var l net.Listener
	for range 100 { // the port of the one that was killed
		if l, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return http.Serve(l, s)
}

type killedLogin struct {
	askName
	overHTTP
}

func (l killedLogin) Finish(r *http.Request, a *Attempt) (*Person, error) {
	p, err := l.askName.Finish(r, a)
	if err == nil {
		p.Upstream, err = l.RenewUpstream(r.Context(), &oauth2.Token{RefreshToken: "first"})
	}
	return p, err
}

// victim is a server that is killed and started again.
type victim struct {
	*testing.T
	dir, addr, upstream string
	mu                  sync.Mutex
	cmd                 *exec.Cmd
}

func (v *victim) start() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+v.dir, "CAUSEWAY_TEST_OAUTH_ADDR="+v.addr, "CAUSEWAY_TEST_OAUTH_UPSTREAM="+v.upstream)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		v.Fatalf("the server did not start: %q %v", line, err)
	}
	v.mu.Lock()
	v.cmd = cmd
	v.mu.Unlock()
}

func (v *victim) kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

// TestAServerThatIsKilledSignsNobodyOut kills a real process with SIGKILL at any moment
// of refreshes, replays and renewals of the login's token, again and again. What a client
// was given is good afterwards, and a client that was given nothing gets it by asking
// again. The one thing that may be lost is a token of the login that is good once; then,
// and only then, the person is asked to sign in.
func TestAServerThatIsKilledSignsNobodyOut(t *testing.T) {
	kills := 2
	if n, err := strconv.Atoi(os.Getenv("CAUSEWAY_CRASH_ROUNDS")); err == nil {
		kills = n
	} else if testing.Short() {
		kills = 1
	}
	e := &families{} // whose tokens are good for a minute: renewed at every refresh, and at every call
	there := httptest.NewServer(http.HandlerFunc(e.serve))
	defer there.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	v := &victim{T: t, dir: filepath.Join(t.TempDir(), "store"), addr: addr, upstream: there.URL}
	v.start()
	defer v.kill()
	people := make([]*survivor, 4)
	for i := range people {
		people[i] = &survivor{v: v, there: e, http: &http.Client{Timeout: 30 * time.Second}}
		people[i].signIn()
	}
	rnd := rand.New(rand.NewPCG(uint64(kills), 5))
	for range kills {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, p := range people {
			wg.Go(func() { p.work(stop) })
		}
		time.Sleep(time.Duration(5+rnd.IntN(120)) * time.Millisecond)
		v.kill()
		close(stop)
		wg.Wait()
		v.start()
		for _, p := range people {
			wg.Go(p.goOn)
		}
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

// families is the login elsewhere over HTTP: a family of refresh tokens for each sign-in.
type families struct {
	mu    sync.Mutex
	all   []*family
	again int // how often people had to sign in anew
}

type family struct {
	mu    sync.Mutex
	id, n int
	ended bool
}

// ended counts those that a second use of a token has ended.
func (e *families) ended() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.all {
		f.mu.Lock()
		if f.ended {
			n++
		}
		f.mu.Unlock()
	}
	return n
}

func (e *families) serve(w http.ResponseWriter, r *http.Request) {
	var f *family
	var id, n int
	if text := r.FormValue("refresh_token"); text == "first" {
		e.mu.Lock()
		f = &family{id: len(e.all)}
		e.all = append(e.all, f)
		e.mu.Unlock()
	} else if _, err := fmt.Sscanf(text, "rt-%d-%d", &id, &n); err == nil {
		e.mu.Lock()
		if id >= 0 && id < len(e.all) {
			f = e.all[id]
		}
		e.mu.Unlock()
	}
	if f == nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.n != n {
		f.ended = true
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_grant"}`)
		return
	}
	f.n++
	time.Sleep(2 * time.Millisecond)
	fmt.Fprintf(w, `{"access_token":"at-%d-%d","refresh_token":"rt-%d-%d"}`, f.id, f.n, f.id, f.n)
}

// survivor is a client of a person, that keeps what it was given last.
type survivor struct {
	v     *victim
	there *families
	http  *http.Client
	given tokenAnswer
}

func (p *survivor) signIn() {
	w := &world{T: p.v.T, srv: &httptest.Server{URL: "http://" + p.v.addr}}
	p.given = w.tokens(testClient, w.browser().mustAllow(w.asks(testClient), "alice"))
}

// work refreshes until the server is gone.
func (p *survivor) work(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		answer, status := p.refresh()
		if status == 0 {
			return // killed, perhaps after it had written
		}
		if status != http.StatusOK {
			p.v.Errorf("a refresh: %d", status)
			return
		}
		p.given = answer
	}
}

func (p *survivor) refresh() (tokenAnswer, int) {
	resp, err := p.http.PostForm("http://"+p.v.addr+"/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {testClient}, "refresh_token": {p.given.RefreshToken}})
	if err != nil {
		return tokenAnswer{}, 0
	}
	defer resp.Body.Close()
	var answer tokenAnswer
	if json.UnmarshalRead(resp.Body, &answer) != nil {
		return answer, 0 // cut off
	}
	return answer, resp.StatusCode
}

func (p *survivor) call() (string, int) {
	req, _ := http.NewRequest("POST", "http://"+p.v.addr+"/mcp", nil)
	req.Header.Set("Authorization", "Bearer "+p.given.AccessToken)
	resp, err := p.http.Do(req)
	if err != nil {
		return err.Error(), 0
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body), resp.StatusCode
}

// goOn is after the server has started again.
func (p *survivor) goOn() {
	answer, status := p.refresh()
	if status == http.StatusBadRequest {
		// Only a family that ended elsewhere, as its new token was lost, may end here; and
		// then it stays ended, without asking there again.
		p.there.mu.Lock()
		p.there.again++
		again := p.there.again
		p.there.mu.Unlock()
		if ended := p.there.ended(); again > ended {
			p.v.Errorf("%d were signed out, and the login had ended for %d", again, ended)
		}
		if _, again := p.refresh(); again != http.StatusBadRequest {
			p.v.Errorf("after that: %d", again)
		}
		p.signIn()
		return
	}
	if status != http.StatusOK {
		p.v.Errorf("after the start: %d", status)
		return
	}
	p.given = answer
	if body, status := p.call(); status != http.StatusOK {
		p.v.Errorf("its access token: %d %s", status, body)
	}
}
