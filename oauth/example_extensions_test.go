package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/causeway-mcp/causeway/oauth"
	"github.com/causeway-mcp/causeway/oauth/login"
	"github.com/modelcontextprotocol/go-sdk/auth"
)

const issuer = "http://127.0.0.1:8787"

// ask is a token request of a client with a secret.
func ask(h http.Handler, client string, form url.Values) map[string]any {
	req := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, "the secret of "+client)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		panic(err)
	}
	return m
}

// call is a request to a resource with a token.
func call(h http.Handler, token any) string {
	req := httptest.NewRequest(http.MethodPost, "/mcp", nil)
	req.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String()))
}

func whoAmI(w http.ResponseWriter, r *http.Request) {
	info := auth.TokenInfoFromContext(r.Context())
	fmt.Fprintln(w, info.UserID, info.Scopes, info.Extra[oauth.ExtraClient], info.Extra[oauth.ExtraActors])
}

// The protected side in another process than the authorization server. Here both are in
// one, and the internal call is the validator; an Introspection asks over HTTP.
func ExampleResourceServer() {
	mail := oauth.Resource{ID: "http://127.0.0.1:9000/mcp", Scopes: []oauth.Scope{{Name: "mail:read"}}, Require: []string{"mail:read"}}
	p := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(), Resources: []oauth.Resource{mail},
		Clients: []oauth.Client{{ID: "nightly", Secret: "the secret of nightly", Service: []oauth.Access{{Resource: mail.ID, Scopes: []string{"mail:read"}}}}},
	}
	as, err := p.Protect(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	rs := &oauth.ResourceServer{Issuer: issuer, Resources: []oauth.Resource{mail}, Validator: as}
	h, err := rs.Protect(http.HandlerFunc(whoAmI))
	if err != nil {
		fmt.Println(err)
		return
	}
	token := ask(as, "nightly", url.Values{"grant_type": {"client_credentials"}})["access_token"]
	fmt.Println(call(h, token))
	fmt.Println(call(h, "junk"))
	// Output:
	// 200 client:nightly [mail:read] nightly <nil>
	// 401 {"error":"invalid_token","error_description":"the token is not good here, or not any more"}
}

// A resource server that asks about each token, at most every five seconds.
func ExampleIntrospection() {
	as := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(), Resources: []oauth.Resource{{ID: "http://127.0.0.1:9000/mcp"}},
		Clients: []oauth.Client{
			{ID: "mail", Secret: "the secret of mail", Introspects: []string{"http://127.0.0.1:9000/mcp"}},
			{ID: "nightly", Secret: "the secret of nightly", Service: []oauth.Access{{}}},
		},
	}
	h, err := as.Protect(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	v := &oauth.Introspection{Endpoint: srv.URL + "/introspect", Issuer: issuer, ClientID: "mail", Secret: "the secret of mail"}
	token := ask(h, "nightly", url.Values{"grant_type": {"client_credentials"}})["access_token"]
	good, err := v.Validate(context.Background(), "http://127.0.0.1:9000/mcp", token.(string))
	fmt.Println(good.User, good.Client, err)
	junk, err := v.Validate(context.Background(), "http://127.0.0.1:9000/mcp", "junk")
	fmt.Println(junk, err)
	// Output:
	// client:nightly nightly <nil>
	// <nil> <nil>
}

// A resource server that asks nobody.
func ExampleJWTVerifier() {
	as := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(), Resources: []oauth.Resource{{ID: "http://127.0.0.1:9000/mcp", JWT: &oauth.JWT{}}},
		Clients: []oauth.Client{{ID: "nightly", Secret: "the secret of nightly", Service: []oauth.Access{{}}}},
	}
	h, err := as.Protect(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	v := &oauth.JWTVerifier{Issuer: issuer, KeysURL: srv.URL + "/jwks"}
	token := ask(h, "nightly", url.Values{"grant_type": {"client_credentials"}})["access_token"]
	good, err := v.Validate(context.Background(), "http://127.0.0.1:9000/mcp", token.(string))
	fmt.Println(good.User, good.Client, err)
	other, err := v.Validate(context.Background(), "http://127.0.0.1:9001/mcp", token.(string))
	fmt.Println(other, err)
	// Output:
	// client:nightly nightly <nil>
	// <nil> the token is for another resource
}

// A gateway gets a token for the server behind it, in the name of who called it.
func ExampleTokenExchange() {
	mail, files := issuer+"/mcp", issuer+"/files"
	scopes := []oauth.Scope{{Name: "read"}, {Name: "write"}}
	p := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(), Resources: []oauth.Resource{{Path: "/mcp", Scopes: scopes}, {Path: "/files", Scopes: scopes}},
		Clients: []oauth.Client{
			{ID: "gateway", Secret: "the secret of gateway"},
			{ID: "nightly", Secret: "the secret of nightly", Service: []oauth.Access{{Resource: mail, Scopes: []string{"read"}}}},
		},
		TokenExchanges: []oauth.TokenExchange{{Client: "gateway", From: []string{mail}, To: []string{files}}},
	}
	h, err := p.Protect(context.Background(), http.HandlerFunc(whoAmI))
	if err != nil {
		fmt.Println(err)
		return
	}
	token := ask(h, "nightly", url.Values{"grant_type": {"client_credentials"}, "resource": {mail}})["access_token"]
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {token.(string)}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	fmt.Println(call(h, ask(h, "gateway", form)["access_token"]))
	form.Set("resource", files)
	fmt.Println(ask(h, "gateway", form)["scope"])
	form.Set("scope", "write")
	fmt.Println(ask(h, "gateway", form)["error_description"])
	// Output:
	// 200 client:nightly [read] gateway [client:gateway]
	// read
	// scope exceeds that of the subject_token
}

// The identity provider of a company vouches for its people.
func ExampleTrustedIssuer() {
	p := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(),
		Clients: []oauth.Client{{ID: "corp-desktop", Secret: "the secret of corp-desktop"}},
		TrustedIssuers: []oauth.TrustedIssuer{{
			Issuer: "https://login.corp.example", Clients: []string{"corp-desktop"},
			Person: func(_ context.Context, id *oauth.Identity) (*oauth.Person, error) {
				if !strings.HasSuffix(id.Email, "@corp.example") {
					return nil, oauth.ErrNotAllowed
				}
				return &oauth.Person{ID: id.Issuer + "#" + id.Subject, Name: id.Email}, nil
			},
		}},
	}
	h, err := p.Protect(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := ask(h, "corp-desktop", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"not an assertion"}})
	fmt.Println(answer["error"], "-", answer["error_description"])
	// Output: invalid_grant - the assertion is not valid
}

// Tokens that are worth nothing without the key of the client.
func ExampleDPoP() {
	p := &oauth.Provider{Issuer: issuer, Login: login.Dev(), Resources: []oauth.Resource{{Path: "/mcp", RequireDPoP: true}}, DPoP: &oauth.DPoP{}}
	h, err := p.Protect(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/mcp", nil))
	fmt.Println(w.Header().Get("WWW-Authenticate"))
	// Output:
	// DPoP resource_metadata="http://127.0.0.1:8787/.well-known/oauth-protected-resource/mcp", algs="ES256 EdDSA RS256"
}

// A tool that needs more than the other tools do.
func ExampleResource_tools() {
	p := &oauth.Provider{
		Issuer: issuer, Login: login.Dev(),
		Resources: []oauth.Resource{{
			Path: "/mcp", Scopes: []oauth.Scope{{Name: "mail:read"}, {Name: "mail:send"}}, Require: []string{"mail:read"},
			Tools: map[string][]string{"send": {"mail:send"}},
		}},
		Clients: []oauth.Client{{ID: "nightly", Secret: "the secret of nightly", Service: []oauth.Access{{Scopes: []string{"mail:read"}}}}},
	}
	h, err := p.Protect(context.Background(), http.HandlerFunc(whoAmI))
	if err != nil {
		fmt.Println(err)
		return
	}
	token := ask(h, "nightly", url.Values{"grant_type": {"client_credentials"}})["access_token"]
	req := httptest.NewRequest("POST", "/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send"}}`))
	req.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	_, scope, _ := strings.Cut(w.Header().Get("WWW-Authenticate"), "scope=")
	fmt.Println(w.Code, scope)
	// Output: 403 "mail:read mail:send"
}
