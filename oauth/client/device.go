package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Bounds of a device authorization (RFC 8628 §3.2).
const (
	defaultInterval = 5 * time.Second
	minInterval     = time.Second
	maxInterval     = time.Minute
	maxDeviceLife   = 30 * time.Minute
)

// deviceAnswer is what a device authorization endpoint says.
type deviceAnswer struct {
	code     Secret
	user     string
	page     string // where to type the code
	complete string // where it is typed already; may be empty
	life     time.Duration
	interval time.Duration
}

func parseDevice(content []byte) (*deviceAnswer, error) {
	var body struct {
		Code     string         `json:"device_code"`
		User     string         `json:"user_code"`
		Page     string         `json:"verification_uri"`
		OldPage  string         `json:"verification_url"`
		Complete string         `json:"verification_uri_complete"`
		Life     jsontext.Value `json:"expires_in"`
		Interval jsontext.Value `json:"interval"`
	}
	if err := json.Unmarshal(content, &body); err != nil {
		return nil, fmt.Errorf("device authorization: %w", withoutContent(err))
	}
	a := &deviceAnswer{
		code: NewSecret(body.Code), user: clean(body.User, 64), page: body.Page, complete: body.Complete,
		life: min(lifetimeOf(body.Life), maxDeviceLife), interval: min(lifetimeOf(body.Interval), maxInterval),
	}
	if a.page == "" {
		a.page = body.OldPage
	}
	if a.interval == 0 {
		a.interval = defaultInterval
	}
	a.interval = max(a.interval, minInterval)
	if !isTokenText(body.Code) || body.Code == "" || a.user == "" || a.page == "" || a.life == 0 {
		return nil, fmt.Errorf("%w: a device authorization without codes, address or end", ErrBadAnswer)
	}
	return a, nil
}

// withDevice is the device authorization grant (RFC 8628).
func (g *granting) withDevice(ctx context.Context) (*tokenAnswer, error) {
	s, as := g.session, g.found.as
	if as.DeviceAuthorization == "" {
		return nil, fmt.Errorf("%w: %s has no device authorization", ErrBadAnswer, clean(as.Issuer, 200))
	}
	if err := g.enrol(ctx); err != nil {
		return nil, err
	}
	form := url.Values{}
	if len(g.scopes) > 0 {
		form.Set("scope", strings.Join(g.scopes, " "))
	}
	if g.client != nil {
		form.Set("client_id", g.client.id) // RFC 8628 §3.1, whatever the authentication
	}
	request := g.tokenRequest(s.withResource(form, g.resource))
	request.where, request.endpoint, request.dpop = "device authorization", as.DeviceAuthorization, nil
	content, err := s.post(ctx, request)
	if err != nil {
		return nil, err
	}
	device, err := parseDevice(content)
	if err != nil {
		return nil, err
	}
	for _, address := range []string{device.page, device.complete} {
		if _, err := s.fetch.endpoint("verification_uri", address); address != "" && err != nil {
			return nil, err
		}
	}
	return g.poll(ctx, device)
}

// enrol finds the client to be, for grants that have no redirect.
func (g *granting) enrol(ctx context.Context) error {
	s, as := g.session, g.found.as
	if g.client = s.known(as); g.client != nil {
		return nil
	}
	unlock, err := s.c.store.Lock(ctx, s.registrationName(as.Issuer))
	if err != nil {
		return fmt.Errorf("waiting for other processes: %w", err)
	}
	defer unlock()
	if g.client, err = s.registered(ctx, as.Issuer); err == nil && g.client == nil {
		g.client, err = s.register(ctx, as, nil)
	}
	return err
}

// poll asks until the person is done (RFC 8628 §3.4, §3.5).
func (g *granting) poll(ctx context.Context, device *deviceAnswer) (*tokenAnswer, error) {
	s := g.session
	ctx, cancel := context.WithTimeoutCause(ctx, min(device.life, s.c.options.signInTimeout()), ErrTimeout)
	defer cancel()
	address := device.complete
	if address == "" {
		address = device.page
	}
	g.prompt(ctx, Prompt{Server: s.server.String(), Issuer: g.found.as.Issuer, URL: device.page, UserCode: device.user}, address)
	form := url.Values{"grant_type": {deviceGrant}, "device_code": {device.code.Reveal()}}
	interval := device.interval
	for {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		answer, err := s.send(ctx, g.tokenRequest(s.withResource(form, g.resource)))
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case isCode(err, "authorization_pending"):
		case isCode(err, "slow_down"):
			interval = min(interval+defaultInterval, maxInterval)
		case errors.As(err, new(*AuthError)), errors.Is(err, ErrBadAnswer), errors.Is(err, ErrForbiddenAddress):
			return nil, err
		default: // the network: RFC 8628 §3.5 wants fewer requests
			interval = min(2*interval, maxInterval)
		}
	}
}
