package outward

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOnlyPublicAddressesArePublic(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "192.0.2.1", "198.18.0.1",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
		"fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "fec0::1", "2001:db8::1", "2001::1", "fe80::1%lo",
	} {
		if IsPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111", "172.32.0.1", "100.128.0.1"} {
		if !IsPublic(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
}

func TestAFetchFromThisMachineIsRefusedHoweverItIsSpelled(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer srv.Close()
	port := srv.URL[strings.LastIndex(srv.URL, ":"):]
	c := NewClient(2 * time.Second)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "①②⑦.⓪.⓪.①"} {
		_, _, err := Get(context.Background(), c, "https://"+host+port+"/client.json", 100)
		if err == nil {
			t.Errorf("%s was fetched", host)
		}
	}
	if _, _, err := Get(context.Background(), c, srv.URL, 100); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
}

func TestWhatAServerMayAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/large":
			w.Write(make([]byte, 101))
		case "/gone":
			w.WriteHeader(http.StatusGone)
		default:
			w.Write([]byte("{}"))
		}
	}))
	defer srv.Close()
	c := NewClient(5 * time.Second)
	c.Transport = http.DefaultTransport // the guard is tested above
	get := func(path string) error {
		_, _, err := Get(context.Background(), c, srv.URL+path, 100)
		return err
	}
	if err := get("/redirect"); !errors.Is(err, ErrRedirect) {
		t.Errorf("a redirect: %v", err)
	}
	if err := get("/large"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
	var status StatusError
	if err := get("/gone"); !errors.As(err, &status) || status != http.StatusGone {
		t.Errorf("gone: %v", err)
	}
	if err := get("/ok"); err != nil {
		t.Error(err)
	}
}
