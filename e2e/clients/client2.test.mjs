// @modelcontextprotocol/client 2.x: 2026-07-28, and what it falls back to.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, LOG_LEVEL_META_KEY, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Arrivals, assertSteps, eventually, kitchen, lateProgress, mcpURL, textOf } from './lib.mjs';

/** Connects, and records the headers of every request and the answer it got. */
async function connect({ mode = { pin: '2026-07-28' }, ...options } = {}) {
  const requests = [];
  const transport = new StreamableHTTPClientTransport(mcpURL(), {
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      requests.push({
        method: init?.method ?? 'GET',
        headers: new Headers(init?.headers),
        body: init?.body ? JSON.parse(init.body) : undefined,
        status: response.status,
        session: response.headers.get('mcp-session-id'),
      });
      return response;
    },
  });
  const client = new Client({ name: 'e2e-client2', version: '1.0.0' }, {
    capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} },
    versionNegotiation: { mode },
    ...options,
  });
  const errors = [];
  client.onerror = (e) => errors.push(e);
  await client.connect(transport);
  return { client, requests, errors };
}

const check = (what, body, options) => test(`2026-07-28: ${what}`, async () => {
  const c = await connect(options);
  try {
    assert.equal(c.client.getNegotiatedProtocolVersion(), '2026-07-28');
    await body(c);
    assert.deepEqual(c.errors.filter((e) => !c.expected?.test(e.message)), [], 'errors the client reported');
    for (const r of c.requests) {
      assert.equal(r.method, 'POST', 'this era has only POST');
      assert.equal(r.session, null, 'this era has no sessions');
    }
  } finally {
    await c.client.close();
  }
});

check('discovers the server', async ({ client }) => {
  assert.equal(client.getServerVersion().name, 'causeway-demo');
  assert.match(client.getInstructions(), /add two numbers/);
  const d = await client.discover();
  assert.ok(d.supportedVersions.includes('2026-07-28'));
  assert.ok(d.supportedVersions.includes('2025-11-25'));
  assert.ok(d.capabilities.tools);
  assert.equal(typeof d.ttlMs, 'number');
});

check('lists and calls tools', async ({ client }) => {
  const { tools } = await client.listTools();
  for (const want of ['add', 'count', 'picture', 'bake', 'book_table', 'haiku', 'weather']) {
    assert.ok(tools.some((t) => t.name === want), `tool ${want}`);
  }
  const again = await client.listTools(undefined, { cacheMode: 'bypass' });
  assert.deepEqual(again.tools.map((t) => t.name), tools.map((t) => t.name), 'stable order');
  const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
  assert.equal(textOf(sum), '42');
  assert.deepEqual(sum.structuredContent, { sum: 42 });
});

check('gets an error for what makes no sense', async ({ client }) => {
  const wrong = await client.callTool({ name: 'add', arguments: { a: 'two', b: 40 } });
  assert.equal(wrong.isError, true);
  const code = (c) => (e) => { assert.equal(e.code, c, e.message); return true; };
  await assert.rejects(client.callTool({ name: 'no_such_tool' }), code(-32602));
  await assert.rejects(client.getPrompt({ name: 'no_such_prompt' }), code(-32602));
  await assert.rejects(client.readResource({ uri: 'demo://nowhere' }), code(-32602));
});

check('gets an image, and a result of 1 MiB', async ({ client }) => {
  const picture = await client.callTool({ name: 'picture', arguments: { seed: 7, size: 32 } });
  const image = picture.content.find((c) => c.type === 'image');
  assert.equal(Buffer.from(image.data, 'base64').subarray(1, 4).toString(), 'PNG');
  const report = await client.callTool({ name: 'report', arguments: {} });
  assert.equal(textOf(report).length, 1 << 20);
});

check('counts by a handle, for there is no session', async ({ client }) => {
  const count = async (args) => {
    const res = await client.callTool({ name: 'count', arguments: args });
    return { value: res.structuredContent.value, handle: res._meta?.['causeway/handle'] };
  };
  const one = await count({});
  assert.equal(one.value, 1);
  assert.ok(one.handle.length >= 26, 'a handle nobody can guess');
  assert.equal((await count({ handle: one.handle })).value, 2);
  const other = await count({});
  assert.equal(other.value, 1, 'the same client without a handle is a stranger');
  assert.notEqual(other.handle, one.handle);
  await assert.rejects(client.callTool({ name: 'count', arguments: { handle: 'AAAAAAAAAAAAAAAAAAAAAAAAAA' } }), /handle/);
});

check('reads resources and templates', async ({ client }) => {
  const { resources } = await client.listResources();
  assert.ok(resources.some((r) => r.uri === 'demo://guide'));
  const guide = await client.readResource({ uri: 'demo://guide' });
  assert.match(guide.contents[0].text, /# The demo server/);
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
});

check('answers elicitation by input-required rounds', async ({ client, requests }) => {
  const asked = [];
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    asked.push(params.message);
    if (asked.length > 1) return { action: 'accept', content: {} };
    return { action: 'accept', content: { day: '2026-12-24', people: 9, outside: true } };
  });
  const booked = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
  assert.equal(textOf(booked), 'Booked at Da Nino: 2026-12-24, 9 people, outside.');
  assert.equal(asked.length, 2);
  const rounds = requests.filter((r) => r.body?.method === 'tools/call');
  assert.equal(rounds.length, 3, 'two questions, three rounds');
  assert.ok(rounds[1].body.params.requestState, 'the server sealed its state');
  assert.ok(!rounds[1].body.params.requestState.includes('Nino'), 'and nobody can read it');
  client.setRequestHandler('elicitation/create', async () => ({ action: 'decline' }));
  const declined = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
  assert.equal(textOf(declined), 'No table was booked.');
});

check('answers sampling and roots', async ({ client }) => {
  client.setRequestHandler('sampling/createMessage', async ({ params }) => {
    assert.match(params.messages[0].content.text, /about rain/);
    return { model: 'e2e-model', role: 'assistant', content: { type: 'text', text: 'rain on the causeway' } };
  });
  client.setRequestHandler('roots/list', async () => ({ roots: [{ uri: 'file:///src', name: 'source' }] }));
  const haiku = await client.callTool({ name: 'haiku', arguments: { topic: 'rain' } });
  assert.equal(textOf(haiku), 'rain on the causeway\n\n(by e2e-model)');
  const roots = await client.callTool({ name: 'roots', arguments: {} });
  assert.match(textOf(roots), /file:\/\/\/src \(source\)/);
});

test('2026-07-28: a client that cannot be asked is told what it lacks', async () => {
  const { client, requests } = await connect({ capabilities: {} });
  await assert.rejects(client.callTool({ name: 'haiku', arguments: { topic: 'rain' } }), (e) => {
    assert.equal(e.code, -32021, e.message);
    assert.deepEqual(e.data?.requiredCapabilities, { sampling: {} });
    return true;
  });
  assert.equal(requests.at(-1).status, 400);
  await client.close();
});

check('gets progress in order', async (c) => {
  const { client } = c;
  c.expected = lateProgress;
  const steps = [];
  const cake = await client.callTool({ name: 'bake', arguments: { steps: 5, milliseconds: 10 } }, {
    onprogress: (p) => steps.push(p.progress),
  });
  assert.match(textOf(cake), /done, after 5 steps/);
  await assertSteps(steps, 5, c.errors);
});

check('cancels a call by closing its stream, and the tool stops', async ({ client }) => {
  const before = await kitchen(client);
  const abort = new AbortController();
  const call = client.callTool({ name: 'bake', arguments: { steps: 100, milliseconds: 200 } }, {
    signal: abort.signal,
    onprogress: () => abort.abort('enough'),
  });
  await assert.rejects(call);
  const after = await eventually(async () => {
    const k = await kitchen(client);
    return k.stopped > before.stopped && k;
  });
  assert.equal(after.stopped, before.stopped + 1);
  assert.equal(after.done, before.done);
  assert.equal(after.baking, 0);
});

check('listens for changes of resources and lists', async ({ client }) => {
  const updates = new Arrivals();
  const changes = new Arrivals();
  client.setNotificationHandler('notifications/resources/updated', async (n) => { updates.push(n.params.uri); });
  client.setNotificationHandler('notifications/tools/list_changed', async () => { changes.push('changed'); });
  await client.callTool({ name: 'post_note', arguments: { note: 'before anyone listens' } });
  const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: ['demo://board'] });
  assert.deepEqual(subscription.honoredFilter.resourceSubscriptions, ['demo://board']);
  assert.equal(subscription.honoredFilter.toolsListChanged, true);
  // A change made by another client reaches this one: the subscription is the server's, not a connection's.
  const other = await connect();
  await other.client.callTool({ name: 'post_note', arguments: { note: 'from another client' } });
  assert.equal(await updates.next(), 'demo://board');
  await other.client.callTool({ name: 'surprise', arguments: { shown: true } });
  await changes.next();
  const { tools } = await client.listTools(undefined, { cacheMode: 'refresh' });
  assert.ok(tools.some((t) => t.name === 'open_box'));
  await other.client.callTool({ name: 'surprise', arguments: { shown: false } });
  await changes.next();
  await other.client.close();
  await subscription.close();
  assert.equal(await subscription.closed, 'local');
  await client.callTool({ name: 'post_note', arguments: { note: 'nobody listens' } });
  await client.discover();
  assert.equal(updates.length, 0, 'updates before or after the subscription');
});

check('mirrors an annotated argument in a header', async ({ client, requests }) => {
  await client.listTools();
  const weather = await client.callTool({ name: 'weather', arguments: { region: 'eu', city: 'Bern' } });
  assert.match(textOf(weather), /in Bern \(eu\)/);
  const sent = requests.at(-1);
  assert.equal(sent.headers.get('mcp-param-region'), 'eu');
  assert.equal(sent.headers.get('mcp-name'), 'weather');
});

check('gets the log messages it asked for with the request', async ({ client }) => {
  const logs = new Arrivals();
  client.setNotificationHandler('notifications/message', async (n) => { logs.push(n.params); });
  const say = (text, level, want) => client.callTool({
    name: 'say', arguments: { text, level }, _meta: want ? { [LOG_LEVEL_META_KEY]: want } : undefined,
  });
  await say('nobody asked', 'error');
  await say('too quiet', 'info', 'warning');
  await say('loud enough', 'error', 'warning');
  const first = await logs.next();
  assert.equal(first.data, 'loud enough');
  assert.equal(logs.length, 0);
});

check('works on many calls at once', async ({ client }) => {
  const sums = await Promise.all(Array.from({ length: 50 }, (_, i) => client.callTool({ name: 'add', arguments: { a: i, b: 1000 } })));
  assert.deepEqual(sums.map((s) => s.structuredContent.sum), Array.from({ length: 50 }, (_, i) => i + 1000));
});

test('auto: a client that probes finds the newest era', async () => {
  const { client } = await connect({ mode: 'auto' });
  assert.equal(client.getNegotiatedProtocolVersion(), '2026-07-28');
  assert.equal(textOf(await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })), '3');
  await client.close();
});

test('legacy: the same client gets a session on the same endpoint', async () => {
  const { client, requests } = await connect({ mode: 'legacy' });
  assert.equal(client.getNegotiatedProtocolVersion(), '2025-11-25');
  assert.ok(requests[0].session, 'a session id');
  assert.equal(textOf(await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })), '3');
  await client.close();
});
