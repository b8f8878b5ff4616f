// A host program as far as the SDKs' sign-in sees it: what it keeps, and where it sends
// the person.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { clientName, documentURL, redirectURI } from './lib.mjs';

export class Host {
  client; sentTo;
  #tokens; #verifier; #discovery; #state = randomUUID();
  clientMetadataUrl = documentURL;
  get redirectUrl() { return redirectURI; }
  get clientMetadata() {
    return {
      client_name: clientName, redirect_uris: [redirectURI], token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    };
  }
  state() { return this.#state; }
  /** The SDKs leave the state to the host. */
  checkState(back) { assert.equal(back.searchParams.get('state'), this.#state); }
  clientInformation() { return this.client; }
  saveClientInformation(c) { this.client = c; }
  tokens() { return this.#tokens; }
  saveTokens(t) { this.#tokens = t; }
  redirectToAuthorization(url) { this.sentTo = url; }
  saveCodeVerifier(v) { this.#verifier = v; }
  codeVerifier() { return this.#verifier; }
  saveDiscoveryState(s) { this.#discovery = s; }
  discoveryState() { return this.#discovery; }
  invalidateCredentials(scope) {
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
    if (scope === 'all' || scope === 'client') this.client = undefined;
    if (scope === 'all' || scope === 'discovery') this.#discovery = undefined;
  }
}
