// oauth4webapi: the strictest reader of the RFCs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as oauth from 'oauth4webapi';
import { assertIs, assertRefused, browse, clientName, documentURL, mcpURL, redirectURI, restart, whoami } from './lib.mjs';

const http = { [oauth.allowInsecureRequests]: true };
const none = oauth.None();

test('from a refusal to a revocation', async (t) => {
  let as, client, tokens;

  await t.test('the refusal says where to look, and that leads to the authorization server', async () => {
    const refused = await whoami();
    assert.equal(refused.status, 401);
    // The library reads a challenge only where a request it made failed.
    const challenge = await oauth.protectedResourceRequest('no-token', 'POST', mcpURL, new Headers(), null, http).then(
      () => assert.fail('a made-up token was taken'),
      (e) => { assert.ok(e instanceof oauth.WWWAuthenticateChallengeError, e); return e.cause[0]; });
    assert.equal(challenge.scheme, 'bearer');
    assert.equal(challenge.parameters.error, 'invalid_token');
    const rs = await oauth.processResourceDiscoveryResponse(mcpURL, await oauth.resourceDiscoveryRequest(mcpURL, http));
    assert.equal(challenge.parameters.resource_metadata, new URL('/.well-known/oauth-protected-resource/mcp', mcpURL).href);
    assert.equal(rs.resource, mcpURL.href);
    const issuer = new URL(rs.authorization_servers[0]);
    as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }));
    assert.deepEqual(as.code_challenge_methods_supported, ['S256']);
    assert.equal(as.authorization_response_iss_parameter_supported, true);
    assert.equal(as.client_id_metadata_document_supported, true);
  });

  await t.test('the client becomes known', async () => {
    client = documentURL ? { client_id: documentURL } : await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(as, {
        client_name: clientName, redirect_uris: [redirectURI], token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      }, http));
    assert.ok(client.client_id);
  });

  const ask = async ({ verifier, state }) => {
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams({
      response_type: 'code', client_id: client.client_id, redirect_uri: redirectURI, state, resource: mcpURL.href,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    });
    return url;
  };
  const redeem = (parameters, verifier) => oauth.authorizationCodeGrantRequest(
    as, client, none, parameters, redirectURI, verifier, { additionalParameters: { resource: mcpURL.href }, ...http });

  await t.test('a person who says no is told to the client', async () => {
    const verifier = oauth.generateRandomCodeVerifier(), state = oauth.generateRandomState();
    const back = await browse(await ask({ verifier, state }), { deny: true, name: 'bob' });
    assert.throws(() => oauth.validateAuthResponse(as, client, back, state), (e) => {
      assert.ok(e instanceof oauth.AuthorizationResponseError, e);
      assert.equal(e.error, 'access_denied');
      return true;
    });
  });

  await t.test('a person who says yes gives tokens', async () => {
    const verifier = oauth.generateRandomCodeVerifier(), state = oauth.generateRandomState();
    const back = await browse(await ask({ verifier, state }));
    const parameters = oauth.validateAuthResponse(as, client, back, state);
    await assert.rejects(
      redeem(parameters, oauth.generateRandomCodeVerifier()).then((r) => oauth.processAuthorizationCodeResponse(as, client, r)),
      (e) => e.error === 'invalid_grant', 'a wrong verifier');
    tokens = await oauth.processAuthorizationCodeResponse(as, client, await redeem(parameters, verifier));
    assert.equal(tokens.token_type, 'bearer');
    assert.ok(tokens.refresh_token && tokens.expires_in > 0);
    await assert.rejects(
      redeem(parameters, verifier).then((r) => oauth.processAuthorizationCodeResponse(as, client, r)),
      (e) => e.error === 'invalid_grant', 'the code again');
    await assertIs('alice', tokens.access_token);
  });

  await t.test('kill -9 signs nobody out', async () => {
    await restart();
    await assertIs('alice', tokens.access_token);
  });

  const refresh = async (token) => oauth.processRefreshTokenResponse(as, client,
    await oauth.refreshTokenGrantRequest(as, client, none, token, { additionalParameters: { resource: mcpURL.href }, ...http }));

  await t.test('a refresh rotates, and one that is repeated gets the same answer', async () => {
    const first = await refresh(tokens.refresh_token);
    assert.notEqual(first.refresh_token, tokens.refresh_token);
    const many = await Promise.all(Array.from({ length: 8 }, () => refresh(tokens.refresh_token)));
    for (const again of many) {
      assert.equal(again.access_token, first.access_token);
      assert.equal(again.refresh_token, first.refresh_token);
    }
    tokens = first;
    await assertIs('alice', tokens.access_token);
    await restart();
    tokens = await refresh(tokens.refresh_token);
    await assertIs('alice', tokens.access_token);
  });

  await t.test('what is revoked is over', async () => {
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, none, tokens.refresh_token, http));
    await assertRefused(tokens.access_token);
    await assert.rejects(refresh(tokens.refresh_token), (e) => e.error === 'invalid_grant');
  });
});
