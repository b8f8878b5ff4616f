// The cart's checkout asks for a yes and nothing else, with no fields to fill in: both TypeScript SDKs, in every era they speak.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as Client2, StreamableHTTPClientTransport as Transport2 } from '@modelcontextprotocol/client';
import { base, textOf } from './lib.mjs';

const url = () => new URL('/cart', base);
const capabilities = { elicitation: { form: {} } };

const hosts = {
  'SDK 1.x': async (answer) => {
    const client = new Client1({ name: 'e2e-cart', version: '1.0.0' }, { capabilities });
    client.setRequestHandler(ElicitRequestSchema, answer);
    await client.connect(new Transport1(url()));
    return client;
  },
  'SDK 2.x, 2025-11-25': async (answer) => {
    const client = new Client2({ name: 'e2e-cart', version: '1.0.0' }, { capabilities, versionNegotiation: { mode: 'legacy' } });
    client.setRequestHandler('elicitation/create', answer);
    await client.connect(new Transport2(url()));
    return client;
  },
  'SDK 2.x, 2026-07-28': async (answer) => {
    const client = new Client2({ name: 'e2e-cart', version: '1.0.0' }, { capabilities, versionNegotiation: { mode: { pin: '2026-07-28' } } });
    client.setRequestHandler('elicitation/create', answer);
    await client.connect(new Transport2(url()));
    return client;
  },
};

for (const [name, connect] of Object.entries(hosts)) {
  test(`${name}: orders what was confirmed, once`, async () => {
    const asked = [];
    let action = 'decline';
    const client = await connect(async ({ params }) => {
      asked.push(params.message);
      return action === 'accept' ? { action, content: {} } : { action };
    });
    let handle = {};
    const call = async (tool, args) => {
      const result = await client.callTool({ name: tool, arguments: { ...args, ...handle } });
      assert.ok(!result.isError, textOf(result));
      // Without a session and without sign-in the first result names the object; see docs/guides/state.md.
      const minted = result._meta?.['causeway/handle'];
      if (minted) handle = { handle: minted };
      return result;
    };
    try {
      const { structuredContent: cart } = await call('add_item', { item: 'coffee', quantity: 2 });
      assert.ok(cart.total > 0);
      assert.equal(textOf(await call('checkout', { total: cart.total })), 'Nothing was ordered.');
      action = 'accept';
      await call('checkout', { total: cart.total });
      assert.equal(asked.length, 2);
      assert.match(asked[1], /^Order what is in the cart for \$/);
      const { structuredContent: after } = await call('view_cart', {});
      assert.equal(after.orders.length, 1);
      assert.equal(after.orders[0].total, cart.total);
    } finally {
      await client.close();
    }
  });
}
