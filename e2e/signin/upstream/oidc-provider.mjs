// A real OpenID Connect issuer: node oidc-provider, with its own pages for signing in and
// consenting. It prints its issuer URL, and ends when its standard input does.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'causeway', client_secret: process.env.UPSTREAM_SECRET,
    application_type: 'native', // a loopback redirect whose port is not known beforehand
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'profile', 'email'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  // As OpenID Connect Core 5.4 has it: who also gets an access token finds the claims at
  // the userinfo endpoint, and only there.
  conformIdTokenClaims: true,
  // Access tokens that are nearly over when they are new, so that each use needs a
  // renewal, and refresh tokens that are good once: the second use of one ends all.
  ttl: { AccessToken: 20 },
  rotateRefreshToken: () => true,
  issueRefreshToken: () => true,
  features: { revocation: { enabled: true } },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: `${sub} of oidc-provider`, email: `${sub}@example.com`, email_verified: true }),
  }),
  cookies: { keys: ['a key for the cookies of a test'] },
});
for (const event of ['refresh_token.consumed', 'refresh_token.destroyed', 'grant.revoked', 'grant.error', 'revocation.error']) {
  provider.on(event, (...args) => console.error(`event ${event} ${args.find((a) => a instanceof Error)?.error_detail ?? ''}`));
}
server.on('request', provider.callback());
console.log(issuer);
process.stdin.resume().on('end', () => process.exit(0));
