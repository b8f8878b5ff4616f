package install

import (
	"fmt"
	"slices"
	"strings"
)

// Install returns the settings with the servers in them, each under its name, in the
// place of one that has the name already.
func (c *Client) Install(src []byte, servers ...*Server) ([]byte, error) {
	for _, s := range servers {
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", clip(s.Name), err)
		}
		if c.OnlyCommands && s.Command == "" {
			return nil, fmt.Errorf("%s cannot reach %s by itself: a bridge must stand for it (ThroughBridge)", c.Title, s.Name)
		}
		var err error
		if src, err = edit(c.format, src, c.table, s.Name, c.write(s)); err != nil {
			return nil, err
		}
	}
	return src, nil
}

// Uninstall returns the settings without the servers of these names or URLs, bridges to
// the URLs included, and the names of those that were there.
func (c *Client) Uninstall(src []byte, which ...string) (out []byte, removed []string, err error) {
	servers, err := c.Servers(src)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range which {
		for _, s := range servers {
			if s.answersTo(w) && !slices.Contains(removed, s.Name) {
				removed = append(removed, s.Name)
			}
		}
	}
	for _, name := range removed {
		if src, err = edit(c.format, src, c.table, name, nil); err != nil {
			return nil, nil, err
		}
	}
	return src, removed, nil
}

func (s *Server) answersTo(w string) bool {
	if s.Name == w || s.URL != "" && sameURL(s.URL, w) {
		return true
	}
	remote, ok := s.Behind()
	return ok && sameURL(remote.URL, w)
}

// sameURL compares the address in the settings with what may also be a name, which is none.
func sameURL(a, b string) bool {
	return strings.Contains(b, "://") && strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

// Servers reads the servers in the settings, by name.
func (c *Client) Servers(src []byte) ([]*Server, error) {
	if len(src) > maxFile {
		return nil, errTooLarge
	}
	all, err := c.format.decode(src)
	if err != nil {
		return nil, err
	}
	table, err := tableAt(all, c.table)
	if err != nil {
		return nil, err
	}
	var out []*Server
	for name, v := range table {
		entry, ok := v.(map[string]any)
		if !ok {
			continue
		}
		if s := c.read(name, entry); s != nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *Server) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
