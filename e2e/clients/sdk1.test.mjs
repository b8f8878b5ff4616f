// @modelcontextprotocol/sdk 1.x: the sessions eras, over its three remote transports.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Arrivals, assertSteps, eventually, kitchen, lateProgress, mcpURL, sseURL, textOf, wsURL } from './lib.mjs';

const transports = {
  'Streamable HTTP': () => {
    // The client opens its GET stream on its own time; tests of what arrives there wait for it.
    let open;
    const listening = new Promise((resolve) => { open = resolve; });
    const transport = new StreamableHTTPClientTransport(mcpURL(), {
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        if (init?.method === 'GET') { assert.equal(response.status, 200, 'GET stream'); open(); }
        return response;
      },
    });
    return { transport, listening };
  },
  'HTTP+SSE on a path of its own': () => ({ transport: new SSEClientTransport(sseURL()) }),
  'HTTP+SSE on the endpoint of all eras': () => ({ transport: new SSEClientTransport(mcpURL()) }),
  WebSocket: () => ({ transport: new WebSocketClientTransport(wsURL()) }),
};

async function connect(make) {
  const { transport, listening } = make();
  const client = new Client({ name: 'e2e-sdk1', version: '1.0.0' }, {
    capabilities: { elicitation: { form: {} }, sampling: {}, roots: { listChanged: true } },
  });
  const errors = [];
  client.onerror = (e) => errors.push(e);
  await client.connect(transport);
  await listening;
  return { client, transport, errors };
}

for (const [name, make] of Object.entries(transports)) {
  const check = (what, body) => test(`${name}: ${what}`, async () => {
    const c = await connect(make);
    try {
      await body(c);
      assert.deepEqual(c.errors.filter((e) => !c.expected?.test(e.message)), [], 'errors the client reported');
    } finally {
      await c.client.close();
    }
  });

  check('says who it is', async ({ client }) => {
    assert.equal(client.getServerVersion().name, 'causeway-demo');
    assert.match(client.getInstructions(), /add two numbers/);
    await client.ping();
  });

  check('lists and calls tools', async ({ client }) => {
    const { tools } = await client.listTools();
    for (const want of ['add', 'count', 'picture', 'bake', 'book_table', 'haiku', 'weather']) {
      assert.ok(tools.some((t) => t.name === want), `tool ${want}`);
    }
    const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
    assert.equal(textOf(sum), '42');
    assert.deepEqual(sum.structuredContent, { sum: 42 });
    const weather = await client.callTool({ name: 'weather', arguments: { region: 'eu', city: 'Bern' } });
    assert.match(textOf(weather), /in Bern \(eu\)/);
  });

  check('gets an error for what makes no sense', async ({ client }) => {
    const wrong = await client.callTool({ name: 'add', arguments: { a: 'two', b: 40 } });
    assert.equal(wrong.isError, true);
    const code = (...codes) => (e) => { assert.ok(codes.includes(e.code), `${e.code} ${e.message}`); return true; };
    await assert.rejects(client.callTool({ name: 'no_such_tool' }), code(-32602));
    await assert.rejects(client.getPrompt({ name: 'no_such_prompt' }), code(-32602));
    // -32002 up to 2025-11-25 (SHOULD); go-sdk says -32602 in every era.
    await assert.rejects(client.readResource({ uri: 'demo://nowhere' }), code(-32002, -32602));
  });

  check('gets an image', async ({ client }) => {
    const picture = await client.callTool({ name: 'picture', arguments: { seed: 7, size: 32 } });
    const image = picture.content.find((c) => c.type === 'image');
    assert.equal(image.mimeType, 'image/png');
    assert.equal(Buffer.from(image.data, 'base64').subarray(1, 4).toString(), 'PNG');
  });

  check('gets a result of 1 MiB', async ({ client }) => {
    const report = await client.callTool({ name: 'report', arguments: {} });
    assert.equal(textOf(report).length, 1 << 20);
  });

  check('counts in its own session', async ({ client }) => {
    const other = await connect(make);
    try {
      const count = async (c) => (await c.callTool({ name: 'count', arguments: {} })).structuredContent.value;
      assert.equal(await count(client), 1);
      assert.equal(await count(client), 2);
      assert.equal(await count(other.client), 1);
      assert.equal(await count(client), 3);
    } finally {
      await other.client.close();
    }
  });

  check('reads resources and templates', async ({ client }) => {
    const { resources } = await client.listResources();
    assert.ok(resources.some((r) => r.uri === 'demo://guide'));
    const guide = await client.readResource({ uri: 'demo://guide' });
    assert.match(guide.contents[0].text, /# The demo server/);
    const logo = await client.readResource({ uri: 'demo://logo' });
    assert.equal(Buffer.from(logo.contents[0].blob, 'base64').subarray(1, 4).toString(), 'PNG');
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.equal(resourceTemplates[0].uriTemplate, 'demo://colors/{name}');
    const teal = await client.readResource({ uri: 'demo://colors/teal' });
    assert.equal(teal.contents[0].text, '#008080');
  });

  check('gets prompts and completes their arguments', async ({ client }) => {
    const { prompts } = await client.listPrompts();
    assert.deepEqual(prompts.map((p) => p.name).sort(), ['review', 'trip']);
    const trip = await client.getPrompt({ name: 'trip', arguments: { city: 'Lisbon' } });
    assert.match(trip.messages[0].content.text, /Lisbon/);
    const { completion } = await client.complete({ ref: { type: 'ref/prompt', name: 'trip' }, argument: { name: 'city', value: 'li' } });
    assert.deepEqual(completion.values, ['Lima', 'Lisbon']);
    const color = await client.complete({ ref: { type: 'ref/resource', uri: 'demo://colors/{name}' }, argument: { name: 'name', value: 'a' } });
    assert.deepEqual(color.completion.values, ['amber', 'azure']);
  });

  check('answers elicitation, twice if need be', async ({ client }) => {
    const asked = [];
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params.message);
      if (asked.length > 1) return { action: 'accept', content: {} };
      assert.deepEqual(params.requestedSchema.required, ['day', 'people']);
      return { action: 'accept', content: { day: '2026-12-24', people: 9, outside: true } };
    });
    const booked = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
    assert.equal(textOf(booked), 'Booked at Da Nino: 2026-12-24, 9 people, outside.');
    assert.equal(asked.length, 2);
    client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' }));
    const declined = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
    assert.equal(textOf(declined), 'No table was booked.');
  });

  check('answers sampling and roots', async ({ client }) => {
    client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
      assert.match(params.messages[0].content.text, /about rain/);
      return { model: 'e2e-model', role: 'assistant', content: { type: 'text', text: 'rain on the causeway' } };
    });
    client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///src', name: 'source' }] }));
    const haiku = await client.callTool({ name: 'haiku', arguments: { topic: 'rain' } });
    assert.equal(textOf(haiku), 'rain on the causeway\n\n(by e2e-model)');
    const roots = await client.callTool({ name: 'roots', arguments: {} });
    assert.match(textOf(roots), /file:\/\/\/src \(source\)/);
  });

  check('gets progress in order', async (c) => {
    const { client } = c;
    c.expected = lateProgress;
    const steps = [];
    const cake = await client.callTool({ name: 'bake', arguments: { steps: 5, milliseconds: 10 } }, undefined, {
      onprogress: (p) => steps.push(p.progress),
    });
    assert.match(textOf(cake), /done, after 5 steps/);
    await assertSteps(steps, 5, c.errors);
  });

  check('cancels a call, and the tool stops', async (c) => {
    const { client, transport } = c;
    // Progress may cross the cancellation. On a POST's own stream a last word keeps this client from
    // resuming it; elsewhere there must be none.
    c.expected = transport instanceof StreamableHTTPClientTransport
      ? /unknown token: |unknown message ID: .*(cancelled|canceled)/
      : /unknown token: /;
    const before = await kitchen(client);
    const abort = new AbortController();
    const call = client.callTool({ name: 'bake', arguments: { steps: 100, milliseconds: 200 } }, undefined, {
      signal: abort.signal,
      onprogress: () => abort.abort('enough'),
    });
    await assert.rejects(call, /enough/);
    const after = await eventually(async () => {
      const k = await kitchen(client);
      return k.stopped > before.stopped && k;
    });
    assert.equal(after.stopped, before.stopped + 1);
    assert.equal(after.done, before.done);
    assert.equal(after.baking, 0);
  });

  check('is told when a resource it subscribed to changes', async ({ client }) => {
    const updates = new Arrivals();
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => updates.push(n.params.uri));
    await client.callTool({ name: 'post_note', arguments: { note: 'before the subscription' } });
    await client.subscribeResource({ uri: 'demo://board' });
    await client.callTool({ name: 'post_note', arguments: { note: `over ${name}` } });
    assert.equal(await updates.next(), 'demo://board');
    const board = await client.readResource({ uri: 'demo://board' });
    assert.ok(board.contents[0].text.endsWith(`over ${name}`));
    await client.unsubscribeResource({ uri: 'demo://board' });
    await client.callTool({ name: 'post_note', arguments: { note: 'after it' } });
    await client.ping();
    assert.equal(updates.length, 0, 'updates before or after the subscription');
    await assert.rejects(client.subscribeResource({ uri: 'demo://guide' }), /never changes/);
  });

  check('is told when the list of tools changes', async ({ client }) => {
    const changes = new Arrivals();
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => changes.push('changed'));
    const has = async () => (await client.listTools()).tools.some((t) => t.name === 'open_box');
    assert.equal(await has(), false);
    await client.callTool({ name: 'surprise', arguments: { shown: true } });
    await changes.next();
    assert.equal(await has(), true);
    assert.equal(textOf(await client.callTool({ name: 'open_box', arguments: {} })), 'A smaller box.');
    await client.callTool({ name: 'surprise', arguments: { shown: false } });
    await changes.next();
    assert.equal(await has(), false);
  });

  check('gets the log messages of the level it asked for', async ({ client }) => {
    const logs = new Arrivals();
    client.setNotificationHandler(LoggingMessageNotificationSchema, (n) => logs.push(n.params));
    await client.setLoggingLevel('warning');
    await client.callTool({ name: 'say', arguments: { text: 'too quiet', level: 'info' } });
    await client.callTool({ name: 'say', arguments: { text: 'loud enough', level: 'error' } });
    const first = await logs.next();
    assert.equal(first.data, 'loud enough');
    assert.equal(first.level, 'error');
  });

  check('works on many calls at once', async ({ client }) => {
    const calls = Array.from({ length: 50 }, (_, i) => client.callTool({ name: 'add', arguments: { a: i, b: 1000 } }));
    const sums = await Promise.all(calls);
    assert.deepEqual(sums.map((s) => s.structuredContent.sum), Array.from({ length: 50 }, (_, i) => i + 1000));
  });
}

test('Streamable HTTP: a session that was deleted is gone', async () => {
  const { client, transport } = await connect(transports['Streamable HTTP']);
  const id = transport.sessionId;
  assert.match(id, /^[\x21-\x7e]+$/);
  const post = (headers) => fetch(mcpURL(), {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25', ...headers },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  const alive = await post({ 'mcp-session-id': id });
  assert.equal(alive.status, 200);
  await alive.text();
  await transport.terminateSession();
  const gone = await post({ 'mcp-session-id': id });
  assert.equal(gone.status, 404);
  await gone.text();
  const again = await fetch(mcpURL(), { method: 'DELETE', headers: { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' } });
  assert.equal(again.status, 404);
  await again.text();
  const unknown = await post({ 'mcp-session-id': 'made-up' });
  assert.equal(unknown.status, 404);
  await unknown.text();
  await client.close();
});
