package causeway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// certificateEvery is how often the files of a certificate are looked at. They are small.
const certificateEvery = time.Second

// A certificate is a certificate chain and its key in two files, and what they held when
// they last made sense.
type certificate struct {
	certFile, keyFile string
	host              string // the name that clients look for; empty is not known
	log               *slog.Logger
	served            atomic.Pointer[pair]
}

// A pair is what the two files held.
type pair struct {
	certText, keyText []byte
	tls.Certificate
}

// openCertificate reads the pair that an App is told of, nil for none.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	switch {
	case certFile == "" && keyFile == "":
		return nil, nil
	case keyFile == "":
		return nil, fmt.Errorf("-tls-cert %s: its key is missing; name the file with -tls-key", certFile)
	case certFile == "":
		return nil, fmt.Errorf("-tls-key %s: its certificate is missing; name the file with -tls-cert", keyFile)
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	p, err := c.read(nil)
	if err != nil {
		return nil, err
	}
	c.served.Store(p)
	c.checkMode()
	return c, nil
}

// read reads the files. It returns before, with no work done, if they still hold that.
func (c *certificate) read(before *pair) (*pair, error) {
	certText, err := os.ReadFile(c.certFile)
	if err != nil {
		return nil, unreadable("-tls-cert", c.certFile, err)
	}
	keyText, err := os.ReadFile(c.keyFile)
	if err != nil {
		return nil, unreadable("-tls-key", c.keyFile, err)
	}
	if before != nil && bytes.Equal(certText, before.certText) && bytes.Equal(keyText, before.keyText) {
		return before, nil
	}
	parsed, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, c.explain(certText, keyText, err)
	}
	return &pair{certText, keyText, parsed}, nil
}

func unreadable(setting, file string, err error) error {
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err // the file is named already
	}
	remedy := ""
	if errors.Is(err, fs.ErrPermission) {
		remedy = "; let the user that this program runs as read it"
	}
	return fmt.Errorf("%s %s: %w%s", setting, file, err, remedy)
}

// explain says which of the files is wrong, and what to do.
func (c *certificate) explain(certText, keyText []byte, err error) error {
	certs, keyInstead := blocksOf(certText, "CERTIFICATE")
	keys, _ := blocksOf(keyText, "PRIVATE KEY")
	switch {
	case len(certs) == 0 && keyInstead:
		return fmt.Errorf("-tls-cert %s: it holds a key and no certificate; are -tls-cert and -tls-key exchanged?", c.certFile)
	case len(certs) == 0:
		return fmt.Errorf("-tls-cert %s: there is no certificate in it; it must be PEM (-----BEGIN CERTIFICATE-----), the server's own first and then those that vouch for it", c.certFile)
	case len(keys) == 0:
		return fmt.Errorf("-tls-key %s: there is no private key in it; it must be PEM (-----BEGIN PRIVATE KEY-----)", c.keyFile)
	case keys[0].Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(keys[0].Headers["Proc-Type"], "ENCRYPTED"):
		return fmt.Errorf("-tls-key %s: it has a passphrase, which a server cannot be asked for; write it without one: openssl pkey -in %[1]s -out FILE", c.keyFile)
	}
	return fmt.Errorf("-tls-cert %s and -tls-key %s: %w; the key must be the one that the first certificate was made with", c.certFile, c.keyFile, err)
}

// blocksOf are the PEM blocks whose type ends so, and whether there is a private key.
func blocksOf(text []byte, kind string) (found []*pem.Block, hasKey bool) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return found, hasKey
		}
		if strings.HasSuffix(b.Type, kind) {
			found = append(found, b)
		}
		hasKey = hasKey || strings.HasSuffix(b.Type, "PRIVATE KEY")
	}
}

// checkMode warns of a key that is not only the server's. That its group may read it is
// how many systems give it to servers.
func (c *certificate) checkMode() {
	info, err := os.Stat(c.keyFile)
	if err == nil && info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		c.log.Warn("everyone on this machine can read or change the key of the certificate; run: chmod 600 "+c.keyFile, "mode", info.Mode().Perm())
	}
}

// isFor says under which name clients look for the server, and warns if the certificate
// is not for that.
func (c *certificate) isFor(host string) {
	c.host = host
	c.checkLeaf(c.served.Load().Leaf)
}

func (c *certificate) checkLeaf(leaf *x509.Certificate) {
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		c.log.Warn("the certificate has ended, and clients will refuse it; renew it", "file", c.certFile, "end", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		c.log.Warn("the certificate is not valid yet, and clients will refuse it; is the clock of this machine right?", "file", c.certFile, "begin", leaf.NotBefore)
	}
	if c.host != "" && leaf.VerifyHostname(c.host) != nil {
		c.log.Warn("the certificate is not for the name that clients look for, and they will refuse it", "file", c.certFile, "wanted", c.host, "has", namesOf(leaf))
	}
}

func namesOf(leaf *x509.Certificate) string {
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	return strings.Join(names, ", ")
}

// url is the base URL of an address that is listened on, under a host that the certificate
// is for: on loopback localhost if it is not for the address, and for all addresses of the
// machine the first name of the certificate, which is all that is known of it.
func (c *certificate) url(addr net.Addr) *url.URL {
	leaf := c.served.Load().Leaf
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return &url.URL{Scheme: "https", Host: addr.String()}
	}
	switch ip := net.ParseIP(host); {
	case ip.IsLoopback() && leaf.VerifyHostname(host) != nil && leaf.VerifyHostname("localhost") == nil:
		host = "localhost"
	case ip.IsUnspecified() && len(leaf.DNSNames) > 0 && !strings.HasPrefix(leaf.DNSNames[0], "*"):
		host = leaf.DNSNames[0]
	}
	u := &url.URL{Scheme: "https", Host: net.JoinHostPort(host, port)}
	if port == "443" { // clients leave it out, and issuers are compared as text
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	return u
}

// config is what the server needs: versions and ciphers are those that Go thinks safe.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.served.Load().Certificate, nil
		},
	}
}

// watch reads the files again when they change, until ctx ends. What makes no sense is
// not served, and told of once; not at first sight, as two files are not replaced at once.
func (c *certificate) watch(ctx context.Context) {
	if !isRegular(c.certFile) || !isRegular(c.keyFile) {
		return // a pipe can be read once, and might be waited for
	}
	tick := time.NewTicker(certificateEvery)
	defer tick.Stop()
	last, told := "", ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := c.read(c.served.Load())
		if err == nil {
			last, told = "", ""
			if now != c.served.Swap(now) {
				c.log.Info("the certificate was read again", "file", c.certFile, "end", now.Leaf.NotAfter)
				c.checkMode()
				c.checkLeaf(now.Leaf)
			}
			continue
		}
		if text := err.Error(); text == last && text != told {
			c.log.Error("the new certificate is not used, and the old one stays", "err", err)
			told = text
		} else {
			last = text
		}
	}
}

func isRegular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}
