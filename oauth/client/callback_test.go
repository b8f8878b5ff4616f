package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestAPortThatIsTakenIsExplained(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_, err = listen(t.Context(), &url.URL{Scheme: "http", Host: "127.0.0.1:" + port, Path: "/callback"})
	if err == nil || !strings.Contains(err.Error(), "port "+port) || !strings.Contains(err.Error(), "choose another port from 1024 to 65535, or none, for a free one") {
		t.Error(err)
	}
	if got := portAdvice(fmt.Errorf("listen: %w", fs.ErrPermission)); !strings.Contains(got, "below 1024") {
		t.Error(got)
	}
	if got := portAdvice(errors.New("else")); got != "" {
		t.Error(got)
	}
}

func TestAPortThatIsNoneIsRefused(t *testing.T) {
	t.Setenv("CAUSEWAY_AUTH_DIR", t.TempDir())
	for _, port := range []int{-1, 65536} {
		if _, err := New(Options{CallbackPort: port}); err == nil || !strings.Contains(err.Error(), "from 1 to 65535") {
			t.Errorf("%d: %v", port, err)
		}
	}
}
