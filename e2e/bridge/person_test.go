package bridge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// browserName is what the bridge starts to show a sign-in. The tests put a link of that
// name to their own binary in front of PATH, and it behaves like a person with a browser.
const browserName = "xdg-open"

// fakeBrowser returns the environment in which a sign-in comes to fakePerson. Every opening
// is written down in the file opened.
func fakeBrowser(t *testing.T) (env []string, opened string) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, browserName)); err != nil {
		t.Fatal(err)
	}
	opened = filepath.Join(dir, "opened")
	return []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "BROWSER=" + browserName, "CAUSEWAY_TEST_OPENED=" + opened}, opened
}

// fakePerson opens an address, fills every form in and presses the first button, until
// there is no form any more.
func fakePerson(address string) error {
	log, err := os.OpenFile(os.Getenv("CAUSEWAY_TEST_OPENED"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = log.WriteString("opened\n")
		log.Close()
	}
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar}
	req, err := http.NewRequest(http.MethodGet, address, nil)
	for range 20 {
		if err != nil {
			return err
		}
		resp, err := browser.Do(req)
		if err != nil {
			return err
		}
		page, err := html.Parse(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return err
		}
		form := find(page, "form")
		if form == nil || resp.StatusCode != http.StatusOK {
			fmt.Fprintf(os.Stderr, "the person ends at a page with status %d\n", resp.StatusCode)
			return nil
		}
		if req, err = submit(resp.Request.URL, form); err != nil {
			return err
		}
	}
	return fmt.Errorf("the forms do not end")
}

func submit(at *url.URL, form *html.Node) (*http.Request, error) {
	action, err := at.Parse(attr(form, "action"))
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	pressed := false
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "button" && !pressed:
			if pressed = true; name != "" {
				values.Set(name, attr(n, "value"))
			}
		case n.Data != "input" || name == "" || attr(n, "type") == "checkbox":
		case attr(n, "type") == "text":
			values.Set(name, "ada")
		default:
			values.Set(name, attr(n, "value"))
		}
	}
	req, err := http.NewRequest(http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

func find(n *html.Node, tag string) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == tag {
			return d
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
