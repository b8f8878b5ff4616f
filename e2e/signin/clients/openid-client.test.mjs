// openid-client: what a web application would use.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as client from 'openid-client';
import { assertIs, assertRefused, base, browse, clientName, documentURL, mcpURL, redirectURI, restart } from './lib.mjs';

const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] };

const ways = documentURL
  ? { document: () => client.discovery(new URL(base), documentURL, { client_id: documentURL }, client.None(), options) }
  : Object.fromEntries([
    ['none', client.None()], ['client_secret_basic', client.ClientSecretBasic()], ['client_secret_post', client.ClientSecretPost()],
  ].map(([method, authentication]) => [method, () => client.dynamicClientRegistration(new URL(base), {
    client_name: clientName, redirect_uris: [redirectURI], token_endpoint_auth_method: method,
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  }, authentication, options)]));

for (const [way, connect] of Object.entries(ways)) {
  test(`${way}: tokens, a call, kill -9, a refresh and a revocation`, async () => {
    const config = await connect();
    const verifier = client.randomPKCECodeVerifier(), state = client.randomState();
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: redirectURI, state, resource: mcpURL.href,
      code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    });
    const back = await browse(url);
    let tokens = await client.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state }, { resource: mcpURL.href });
    await assertIs('alice', tokens.access_token);
    await restart();
    await assertIs('alice', tokens.access_token);
    tokens = await client.refreshTokenGrant(config, tokens.refresh_token, { resource: mcpURL.href });
    await assertIs('alice', tokens.access_token);
    await client.tokenRevocation(config, tokens.refresh_token);
    await assertRefused(tokens.access_token);
    await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), (e) => e.error === 'invalid_grant');
  });
}
