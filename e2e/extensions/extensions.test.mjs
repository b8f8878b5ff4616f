// What the provider can do besides signing people in, judged by libraries that are not
// ours: oauth4webapi reads the RFCs strictly, as a client and as a resource server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as jose from 'jose';
import * as oauth from 'oauth4webapi';

const base = process.env.CAUSEWAY_TEST_URL, secret = process.env.CAUSEWAY_TEST_SECRET;
const jwk = JSON.parse(process.env.CAUSEWAY_TEST_KEY);
const http = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(base);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }));
const robot = { client_id: 'robot' }, rs = { client_id: 'rs' }, basic = oauth.ClientSecretBasic(secret);
const at = (path) => `${base}${path}`;

const serve = async (client, auth, resource, scope, options = {}) => oauth.processClientCredentialsResponse(as, client,
  await oauth.clientCredentialsGrantRequest(as, client, auth, { resource, ...(scope && { scope }) }, { ...http, ...options }));

test('client credentials, with a secret and with a key', async () => {
  const tokens = await serve(robot, basic, at('/mcp'), 'read');
  assert.equal(tokens.token_type, 'bearer');
  assert.equal(tokens.scope, 'read');
  assert.equal(tokens.refresh_token, undefined);
  const key = { key: await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']), kid: '1' };
  const signed = await serve({ client_id: 'signer' }, oauth.PrivateKeyJwt(key), at('/mcp'));
  const answer = await oauth.protectedResourceRequest(signed.access_token, 'POST', new URL(at('/mcp')), new Headers(), null, http);
  assert.equal(await answer.text(), 'client:signer [write] signer');
  await assert.rejects(serve(robot, basic, at('/mcp'), 'admin'), (e) => e.error === 'invalid_scope');
  await assert.rejects(serve(robot, oauth.ClientSecretPost('wrong'), at('/mcp')), (e) => e.error === 'invalid_client');
});

test('introspection, as a resource server of another make reads it', async () => {
  const tokens = await serve(robot, basic, at('/mcp'), 'read');
  const look = async (token) => oauth.processIntrospectionResponse(as, rs, await oauth.introspectionRequest(as, rs, basic, token, http));
  const good = await look(tokens.access_token);
  assert.deepEqual([good.active, good.sub, good.client_id, good.aud, good.iss, good.scope, good.token_type], [true, 'client:robot', 'robot', at('/mcp'), base, 'read', 'Bearer']);
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, robot, basic, tokens.access_token, http));
  assert.deepEqual(await look(tokens.access_token), { active: false });
  await assert.rejects(oauth.introspectionRequest(as, robot, basic, 'x', http).then((r) => oauth.processIntrospectionResponse(as, robot, r)));
});

for (const path of ['/es256', '/rs256', '/eddsa']) {
  test(`a JWT access token of ${path} passes oauth4webapi's check of RFC 9068`, async () => {
    const tokens = await serve(robot, basic, at(path));
    const request = (token) => new Request(at(path), { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request(tokens.access_token), at(path), http);
    assert.deepEqual([claims.iss, claims.sub, claims.client_id, claims.scope], [base, 'client:robot', 'robot', 'read']);
    await assert.rejects(oauth.validateJwtAccessToken(as, request(tokens.access_token), at('/mcp'), http), 'another audience');
    const { payload } = await jose.jwtVerify(tokens.access_token, jose.createRemoteJWKSet(new URL(as.jwks_uri)), { issuer: base, audience: at(path), typ: 'at+jwt', requiredClaims: ['exp', 'iat', 'jti', 'client_id'] });
    assert.ok(payload.exp - payload.iat <= 600);
  });
}

test('DPoP: a bound token, its proofs, nonces on both sides, and what RFC 9068 says of it', async () => {
  const keys = await oauth.generateKeyPair('ES256');
  const dpop = oauth.DPoP(robot, keys);
  const retried = async (attempt) => attempt().catch((e) => { if (oauth.isDPoPNonceError(e)) return attempt(); throw e; });
  const tokens = await retried(() => serve(robot, basic, at('/mcp'), 'read', { DPoP: dpop }));
  assert.equal(tokens.token_type, 'dpop');
  const call = () => oauth.protectedResourceRequest(tokens.access_token, 'POST', new URL(at('/mcp')), new Headers(), null, { ...http, DPoP: dpop });
  for (let i = 0; i < 3; i++) assert.equal((await retried(call)).status, 200);
  assert.equal((await fetch(at('/mcp'), { method: 'POST', headers: { authorization: `Bearer ${tokens.access_token}` } })).status, 401, 'without its key');
  const thief = oauth.DPoP(robot, await oauth.generateKeyPair('ES256'));
  const steal = () => oauth.protectedResourceRequest(tokens.access_token, 'POST', new URL(at('/mcp')), new Headers(), null, { ...http, DPoP: thief });
  await assert.rejects(retried(steal), (e) => e instanceof oauth.WWWAuthenticateChallengeError);

  const jwt = await retried(() => serve(robot, basic, at('/es256'), undefined, { DPoP: dpop }));
  const seen = [];
  const capture = (url, options) => { seen.push(new Request(url, options)); return fetch(url, options); };
  const callJWT = () => oauth.protectedResourceRequest(jwt.access_token, 'POST', new URL(at('/es256')), new Headers(), null, { ...http, DPoP: dpop, [oauth.customFetch]: capture });
  assert.equal((await retried(callJWT)).status, 200);
  const claims = await oauth.validateJwtAccessToken(as, seen.at(-1), at('/es256'), { ...http, requireDPoP: true });
  assert.equal(claims.cnf.jkt, await jose.calculateJwkThumbprint(await jose.exportJWK(keys.publicKey)));
});

test('token exchange narrows, and says who acts', async () => {
  const tokens = await serve(robot, basic, at('/mcp'), 'write');
  const exchange = async (parameters) => oauth.processGenericTokenEndpointResponse(as, rs, await oauth.genericTokenEndpointRequest(as, rs, basic,
    'urn:ietf:params:oauth:grant-type:token-exchange',
    { subject_token: tokens.access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', ...parameters }, http));
  const made = await exchange({ resource: at('/es256'), scope: 'read' });
  assert.equal(made.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token');
  const claims = jose.decodeJwt(made.access_token);
  assert.deepEqual([claims.sub, claims.client_id, claims.act, claims.scope], ['client:robot', 'rs', { sub: 'client:rs' }, 'read']);
  await assert.rejects(exchange({ resource: at('/rs256') }), (e) => e.error === 'invalid_target');
  await assert.rejects(exchange({ scope: 'admin' }), (e) => e.error === 'invalid_scope');
});

test('an identity provider vouches for a person (ID-JAG)', async () => {
  const desk = { client_id: 'desk' };
  const assertion = await new jose.SignJWT({ client_id: 'desk', resource: at('/mcp'), scope: 'read', email: 'alice@example.com' })
    .setProtectedHeader({ alg: 'ES256', kid: '1', typ: 'oauth-id-jag+jwt' }).setIssuer('https://idp.example').setSubject('42').setAudience(base)
    .setJti(crypto.randomUUID()).setIssuedAt().setExpirationTime('2m').sign(await jose.importJWK(jwk, 'ES256'));
  const bring = async () => oauth.processGenericTokenEndpointResponse(as, desk,
    await oauth.genericTokenEndpointRequest(as, desk, basic, 'urn:ietf:params:oauth:grant-type:jwt-bearer', { assertion }, http));
  const tokens = await bring();
  const answer = await oauth.protectedResourceRequest(tokens.access_token, 'POST', new URL(at('/mcp')), new Headers(), null, http);
  assert.equal(await answer.text(), 'https://idp.example#42 [read] desk');
  await assert.rejects(bring(), (e) => e.error === 'invalid_grant', 'twice');
});
