// Connections that break: @modelcontextprotocol/sdk 1.x reconnects with
// Last-Event-ID and misses nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Arrivals, assertSteps, kitchen, startProxy, textOf } from './lib.mjs';

async function connectThrough(proxy, gets) {
  const client = new Client({ name: 'e2e-resume', version: '1.0.0' }, { capabilities: { elicitation: { form: {} } } });
  const transport = new StreamableHTTPClientTransport(proxy.url, {
    reconnectionOptions: { initialReconnectionDelay: 50, maxReconnectionDelay: 200, reconnectionDelayGrowFactor: 1.5, maxRetries: 10 },
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      if (init?.method === 'GET') gets.push({ status: response.status, lastEventID: init.headers.get('last-event-id') });
      return response;
    },
  });
  const errors = [];
  client.onerror = (e) => errors.push(e);
  await client.connect(transport);
  assert.equal((await gets.next()).status, 200);
  return { client, transport, errors };
}

test('a call whose stream is cut goes on, and its progress and result arrive once each', async () => {
  const proxy = await startProxy();
  const gets = new Arrivals();
  const { client, transport, errors } = await connectThrough(proxy, gets);
  const before = await kitchen(client);
  proxy.onData = (data, pair) => {
    if (proxy.cuts === 0 && data.includes('"progress":3')) proxy.cut(pair);
  };
  const steps = [];
  const cake = await client.callTool({ name: 'bake', arguments: { steps: 10, milliseconds: 60 } }, undefined, {
    onprogress: (p) => steps.push(p.progress),
  });
  assert.match(textOf(cake), /done, after 10 steps/);
  assert.equal(proxy.cuts, 1);
  // The cut may have swallowed what was on the way; replay brings it back, in order and once.
  await assertSteps(steps, 10, errors);
  const resumed = await gets.next();
  assert.equal(resumed.status, 200);
  assert.ok(resumed.lastEventID, 'the client resumed with Last-Event-ID');
  const after = await kitchen(client);
  assert.equal(after.done, before.done + 1, 'one cake, baked once');
  assert.equal(after.stopped, before.stopped, 'a lost connection is no cancellation');
  await transport.terminateSession();
  await client.close();
  proxy.close();
});

test('a result that was ready while the client was away is replayed', async () => {
  const proxy = await startProxy();
  const gets = new Arrivals();
  const { client, transport } = await connectThrough(proxy, gets);
  proxy.onData = (data, pair) => {
    // Cut as soon as the event stream has an id to resume from; the cake is done long before the client is back.
    if (proxy.cuts === 0 && data.includes('"progress":1')) proxy.cut(pair);
  };
  const cake = await client.callTool({ name: 'bake', arguments: { steps: 2, milliseconds: 5 } }, undefined, { onprogress: () => {} });
  assert.match(textOf(cake), /done, after 2 steps/);
  assert.equal(proxy.cuts, 1);
  await transport.terminateSession();
  await client.close();
  proxy.close();
});

test('a question that was on the way when the stream was cut is asked after all', async () => {
  const proxy = await startProxy();
  const gets = new Arrivals();
  const { client, transport } = await connectThrough(proxy, gets);
  const questions = [];
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    questions.push(params.message);
    return { action: 'accept', content: { day: '2026-12-24', people: 2 } };
  });
  proxy.onData = (data, pair) => {
    if (proxy.cuts === 0 && data.includes('elicitation/create')) proxy.cut(pair);
  };
  const booked = await client.callTool({ name: 'book_table', arguments: { restaurant: 'Da Nino' } });
  assert.equal(textOf(booked), 'Booked at Da Nino: 2026-12-24, 2 people, inside.');
  assert.equal(proxy.cuts, 1);
  assert.ok(questions.length >= 1);
  await transport.terminateSession();
  await client.close();
  proxy.close();
});

test('what happened while the GET stream was down is told on the next one', async () => {
  const proxy = await startProxy();
  const gets = new Arrivals();
  const { client, transport } = await connectThrough(proxy, gets);
  const updates = new Arrivals();
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => updates.push(n.params.uri));
  await client.subscribeResource({ uri: 'demo://board' });
  await client.callTool({ name: 'post_note', arguments: { note: 'the stream is up' } });
  assert.equal(await updates.next(), 'demo://board');
  proxy.cutGETs();
  await client.callTool({ name: 'post_note', arguments: { note: 'the stream is down' } });
  const resumed = await gets.next();
  assert.equal(resumed.status, 200);
  assert.ok(resumed.lastEventID, 'the client resumed with Last-Event-ID');
  assert.equal(await updates.next(), 'demo://board');
  await transport.terminateSession();
  await client.close();
  proxy.close();
});

test('resuming with an event id of another session shows nothing of it', async () => {
  const proxy = await startProxy();
  const ids = [];
  const one = await connectThrough(proxy, new Arrivals());
  await one.client.callTool({ name: 'bake', arguments: { steps: 2, milliseconds: 5 } }, undefined, {
    onprogress: () => {}, onresumptiontoken: (id) => ids.push(id),
  });
  assert.ok(ids.length > 0, 'the stream had event ids');
  const two = await connectThrough(proxy, new Arrivals());
  const stolen = await fetch(proxy.url, {
    headers: { accept: 'text/event-stream', 'mcp-session-id': two.transport.sessionId, 'mcp-protocol-version': '2025-11-25', 'last-event-id': ids[0] },
    signal: AbortSignal.timeout(20_000),
  });
  if (stolen.ok) {
    const reader = stolen.body.pipeThrough(new TextDecoderStream()).getReader();
    const first = await Promise.race([reader.read(), new Promise((r) => setTimeout(() => r({ value: '' }), 300))]);
    assert.doesNotMatch(first.value ?? '', /progress|cake/, "another session's events");
    await reader.cancel();
  } else {
    assert.ok(stolen.status >= 400 && stolen.status < 500, `status ${stolen.status}`);
    await stolen.text();
  }
  for (const c of [one, two]) {
    await c.transport.terminateSession();
    await c.client.close();
  }
  proxy.close();
});
